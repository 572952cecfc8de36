package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A pager stands in for the provider: it answers as Twilio's API does, after a while, and keeps when the first page of each
// alert or person came. A body with Alertmanager's webhook is read too.
type pager struct {
	listener net.Listener
	delay    time.Duration // before each answer
	requests atomic.Int64
	serial   atomic.Int64

	mu    sync.Mutex
	first map[int64]time.Time // by number of the alert, or of the person behind a phone number
	again int                 // pages of an alert or person that had one
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

// newPager listens on a loopback port of its own.
func newPager(delay time.Duration) (*pager, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("provider: %w", err)
	}
	p := &pager{listener: l, delay: delay, first: map[int64]time.Time{}, conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	return p, nil
}

func (p *pager) address() string { return p.listener.Addr().String() }

func (p *pager) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return // it is closed
		}
		p.mu.Lock()
		p.conns[c] = true
		p.mu.Unlock()
		p.wg.Go(func() {
			_ = p.serve(c) // a client that goes away is nobody's mistake
			_ = c.Close()
			p.mu.Lock()
			delete(p.conns, c)
			p.mu.Unlock()
		})
	}
}

// close ends every connection and waits for it.
func (p *pager) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// maxPage is the largest body that is read.
const maxPage = 4 << 20

// serve answers the requests of one connection. It is written by hand because it shares the machine with what it measures.
func (p *pager) serve(c net.Conn) error {
	r := bufio.NewReaderSize(c, 8<<10)
	var body, answer []byte
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		h, err := readHead(r)
		if err != nil {
			return err
		}
		if h.chunked || h.length > maxPage {
			return fmt.Errorf("a request of %d bytes, chunked %t", h.length, h.chunked)
		}
		body = append(body[:0], make([]byte, max(h.length, 0))...)
		_, err = io.ReadFull(r, body)
		if err != nil {
			return err
		}
		status, text := "200 OK", `{"messages":[]}`
		if strings.HasPrefix(line, "POST") {
			p.note(body, time.Now())
			time.Sleep(p.delay)
			status, text = "201 Created", fmt.Sprintf(`{"sid":"SM%032x","status":"queued"}`, p.serial.Add(1))
		}
		answer = fmt.Appendf(answer[:0], "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, len(text), text)
		_, err = c.Write(answer)
		if err != nil {
			return err
		}
	}
}

func (p *pager) note(body []byte, at time.Time) {
	p.requests.Add(1)
	seen := map[int64]bool{}
	see := func(n int64) {
		if seen[n] {
			return
		}
		seen[n] = true
		if _, ok := p.first[n]; ok {
			p.again++
			return
		}
		p.first[n] = at
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(body) > 0 && body[0] == '{' {
		markers(body, see)
		return
	}
	numbers(body, "To=%2B", func(n int64) { see(n - firstPhone) })
}

// got returns how many alerts or people have been paged, and how many pages were one too many.
func (p *pager) got() (paged, again int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.first), p.again
}

// has reports whether an alert or person has been paged.
func (p *pager) has(n int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.first[n]
	return ok
}

// book returns when the first page of each alert or person came.
func (p *pager) book() map[int64]time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.first)
}

// forget empties the book, for the next round.
func (p *pager) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.first, p.again = map[int64]time.Time{}, 0
	p.requests.Store(0)
}
