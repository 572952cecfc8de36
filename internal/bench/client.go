package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A client is one keep-alive HTTP/1.1 connection that costs the sender as little CPU as it can: one write a request, no
// goroutines and no maps.
type client struct {
	address string
	method  string
	headers []string // whole lines
	head    []byte   // request line and headers, without Content-Length
	request []byte
	conn    net.Conn
	r       *bufio.Reader
	keep    bool          // keep the answer's body in answer
	answer  []byte        // of the last request
	size    int64         // bytes of the last answer's body
	retry   time.Duration // what the last answer's Retry-After says; 0: it has none
}

// errElsewhere means that a target is not on this machine.
var errElsewhere = errors.New("not a loopback address")

func loopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("target %s: %w", address, err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("target %s: %w", address, errElsewhere)
	}
	return nil
}

// newClient returns a client of one method and address; headers are whole lines.
func newClient(method, target string, headers ...string) (*client, error) {
	c := &client{method: method, headers: headers}
	return c, c.aim(target)
}

// aim makes target what the next requests are for. The connection stays where it is on the same server.
func (c *client) aim(target string) error {
	u, err := url.Parse(target)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	err = loopback(u.Host)
	if err != nil {
		return err
	}
	if u.Host != c.address {
		c.close()
	}
	c.address = u.Host
	c.head = fmt.Appendf(c.head[:0], "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nContent-Type: application/json\r\n", c.method, u.RequestURI(), u.Host)
	for _, h := range c.headers {
		c.head = append(append(c.head, h...), "\r\n"...)
	}
	return nil
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// do sends body and reads the whole answer, within patience; it returns the status.
func (c *client) do(body []byte, patience time.Duration) (status int, err error) {
	if c.conn == nil {
		c.conn, err = net.DialTimeout("tcp", c.address, patience) //nolint:noctx // it has a limit of its own
		if err != nil {
			return 0, err
		}
		c.r = bufio.NewReaderSize(c.conn, 64<<10)
	}
	_ = c.conn.SetDeadline(time.Now().Add(patience))
	c.request = append(c.request[:0], c.head...)
	c.request = append(c.request, "Content-Length: "...)
	c.request = strconv.AppendInt(c.request, int64(len(body)), 10)
	c.request = append(c.request, "\r\n\r\n"...)
	c.request = append(c.request, body...)
	_, err = c.conn.Write(c.request)
	if err != nil {
		c.close()
		return 0, err
	}
	status, again, err := c.read()
	if err != nil || !again {
		c.close()
	}
	return status, err
}

func (c *client) read() (status int, again bool, err error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, false, err
	}
	if len(line) < 12 {
		return 0, false, fmt.Errorf("short status line %q", line)
	}
	again = line[7] == '1'
	status, err = strconv.Atoi(string(line[9:12]))
	if err != nil {
		return 0, false, fmt.Errorf("status line %q: %w", line, err)
	}
	h, err := readHead(c.r)
	if err != nil {
		return status, false, err
	}
	again = again && !h.closes
	c.answer, c.size, c.retry = c.answer[:0], 0, h.retry
	switch {
	case h.chunked:
		return status, again, c.readChunks()
	case h.length > 0:
		return status, again, c.take(h.length)
	case h.length < 0 && status != 204 && status != 304:
		return status, false, fmt.Errorf("an answer %d without a length", status)
	}
	return status, again, nil
}

// A head is what matters of a message's headers.
type head struct {
	length  int64 // -1: not said
	chunked bool
	closes  bool
	retry   time.Duration // Retry-After in seconds; 0: not said
}

func readHead(r *bufio.Reader) (head, error) {
	h := head{length: -1}
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return h, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return h, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("content-length")):
			h.length, err = strconv.ParseInt(string(value), 10, 64)
			if err != nil {
				return h, fmt.Errorf("content-length: %w", err)
			}
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			h.chunked = bytes.EqualFold(value, []byte("chunked"))
		case bytes.EqualFold(name, []byte("retry-after")):
			seconds, _ := strconv.ParseUint(string(value), 10, 16) // a date is not what we are told
			h.retry = time.Duration(seconds) * time.Second         //nolint:gosec // 16 bits
		case bytes.EqualFold(name, []byte("connection")):
			h.closes = bytes.EqualFold(value, []byte("close"))
		}
	}
}

func (c *client) readChunks() error {
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(strings.TrimSpace(line), 16, 64)
		if err != nil {
			return fmt.Errorf("chunk: %w", err)
		}
		if n > 0 {
			err = c.take(n)
			if err != nil {
				return err
			}
		}
		_, err = c.r.ReadString('\n')
		if err != nil || n == 0 {
			return err
		}
	}
}

func (c *client) take(n int64) error {
	c.size += n
	if !c.keep {
		_, err := io.CopyN(io.Discard, c.r, n)
		return err
	}
	from := len(c.answer)
	c.answer = append(c.answer, make([]byte, n)...)
	_, err := io.ReadFull(c.r, c.answer[from:])
	return err
}

// fetch gets target once and returns the answer.
func fetch(target string, patience time.Duration) (int, []byte, error) {
	c, err := newClient("GET", target)
	if err != nil {
		return 0, nil, err
	}
	defer c.close()
	c.keep = true
	status, err := c.do(nil, patience)
	return status, c.answer, err
}
