package smtp

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"

	gomail "github.com/wneessen/go-mail"

	"tocsin/paging"
	"tocsin/paging/letter"
)

// How a connection is protected.
const (
	TLSNone      = "none"     // in the clear: for a relay on the same machine or network
	StartTLS     = "starttls" // must be offered by the server
	TLSFromFirst = "tls"      // from the first byte, usually port 465
)

// Limits of one mail.
const (
	defaultTimeout = 15 * time.Second
	maxSaid        = 1 << 20 // bytes that a server may say; the library's reader knows no bound
)

// Options tune a Sender; the zero value is ready to use.
type Options struct {
	TLS      string // TLSNone, StartTLS or TLSFromFirst; "" means StartTLS
	Username string // "" means no login
	Password string
	FromName string        // shown beside the address
	Hello    string        // how we greet; "" means the machine's name
	Timeout  time.Duration // of one mail, from dialling to the server's last word; 0 means 15 s
	Roots    *tls.Config   // who is trusted; nil means the machine's authorities
}

// A Sender mails through one server. It is a paging.Sender, for many goroutines at once.
type Sender struct {
	host string
	port int
	from *mail.Address
	opts Options
}

// New checks its arguments and returns the sender. It does not connect.
func New(address, from string, o Options) (*Sender, error) {
	var errs []error
	host, service, err := net.SplitHostPort(address)
	port, perr := strconv.Atoi(service)
	if err != nil || perr != nil || host == "" || port < 1 || port > 65535 {
		errs = append(errs, fmt.Errorf("address %q: want HOST:PORT", address))
	}
	addr, err := mail.ParseAddress(from)
	if err != nil {
		errs = append(errs, fmt.Errorf("from %q: %w", from, err))
	}
	o.TLS = cmp.Or(o.TLS, StartTLS)
	if o.TLS != TLSNone && o.TLS != StartTLS && o.TLS != TLSFromFirst {
		errs = append(errs, fmt.Errorf("tls %q: one of none, starttls, tls", o.TLS))
	}
	if o.Username != "" && o.TLS == TLSNone && !loopback(host) {
		errs = append(errs, errors.New("tls: none, with a username: the password would travel in the clear"))
	}
	o.Timeout = cmp.Or(o.Timeout, defaultTimeout)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if o.FromName != "" {
		addr.Name = o.FromName
	}
	return &Sender{host: host, port: port, from: addr, opts: o}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Send mails m over a connection of its own.
func (s *Sender) Send(ctx context.Context, m paging.Message) (paging.Receipt, error) {
	if m.Channel != paging.Email {
		return paging.Receipt{}, &paging.RefusedError{Code: "channel", Reason: "a mail server does not send by " + m.Channel}
	}
	msg, err := s.message(m)
	if err != nil {
		return paging.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	line := &wire{}
	defer line.close()
	c, err := s.client(line)
	if err != nil {
		return paging.Receipt{}, fmt.Errorf("nothing was sent: %w", err)
	}
	stop := context.AfterFunc(ctx, line.close) // the library watches the context only while it dials
	defer stop()
	conn, err := c.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return paging.Receipt{}, connectOutcome(err)
	}
	err = c.SendWithSMTPClient(conn, msg)
	if msg.IsDelivered() { // also where the farewell went wrong
		_ = conn.Quit() // its mail is taken: how the connection ends changes nothing
		return paging.Receipt{ID: receipt(msg)}, nil
	}
	return paging.Receipt{}, outcome(err)
}

func (s *Sender) client(line *wire) (*gomail.Client, error) {
	opts := []gomail.Option{
		gomail.WithPort(s.port), gomail.WithTimeout(s.opts.Timeout), gomail.WithoutNoop(), gomail.WithoutRset(),
		gomail.WithDialContextFunc(line.dial(s.tls(), s.opts.TLS == TLSFromFirst)),
		gomail.WithTLSConfig(s.tls()),
	}
	switch s.opts.TLS {
	case TLSNone:
		opts = append(opts, gomail.WithTLSPolicy(gomail.NoTLS))
	case StartTLS:
		opts = append(opts, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case TLSFromFirst:
		opts = append(opts, gomail.WithTLSPolicy(gomail.NoTLS), gomail.WithSSL())
	}
	if s.opts.Username != "" {
		opts = append(opts, gomail.WithUsername(s.opts.Username), gomail.WithPassword(s.opts.Password))
		switch s.opts.TLS {
		case TLSNone: // only on this machine: New has seen to it
			opts = append(opts, gomail.WithSMTPAuth(gomail.SMTPAuthPlainNoEnc))
		case TLSFromFirst: // the library's own choice does not know that our connection is protected already
			opts = append(opts, gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin))
		default:
			opts = append(opts, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover))
		}
	}
	if s.opts.Hello != "" {
		opts = append(opts, gomail.WithHELO(s.opts.Hello))
	}
	return gomail.NewClient(s.host, opts...)
}

func (s *Sender) tls() *tls.Config {
	c := &tls.Config{}
	if s.opts.Roots != nil {
		c = s.opts.Roots.Clone()
	}
	c.ServerName = cmp.Or(c.ServerName, s.host)
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	return c
}

func (s *Sender) message(m paging.Message) (*gomail.Msg, error) {
	l, err := letter.Write(m)
	if err != nil {
		return nil, err
	}
	msg := gomail.NewMsg()
	if err = msg.FromFormat(s.from.Name, s.from.Address); err != nil {
		return nil, &paging.RefusedError{Code: "from", Reason: err.Error()}
	}
	if err = msg.AddToFormat(m.Person.Full, m.To); err != nil {
		return nil, &paging.RefusedError{Code: "to", Reason: "not a mail address", Contact: true}
	}
	_, domain, _ := strings.Cut(s.from.Address, "@")
	msg.SetMessageIDWithValue(messageID(m.ID) + "@" + domain)
	msg.Subject(l.Subject)
	msg.SetDate()
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // so that nobody's absence notice answers it
	if m.Priority > 0 && m.Priority <= 2 {
		msg.SetImportance(gomail.ImportanceHigh)
	}
	msg.SetBodyString(gomail.TypeTextPlain, l.Plain)
	msg.AddAlternativeString(gomail.TypeTextHTML, l.HTML)
	return msg, nil
}

// messageID is the same for the same page, so that a mail program shows a mail that was sent twice once.
func messageID(page string) string {
	return "tocsin." + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '-'
	}, page)
}

// receipt is the server's word for where it queued the mail.
func receipt(msg *gomail.Msg) string {
	id := strings.Join(strings.Fields(strings.ToValidUTF8(msg.ServerResponse(), "")), " ")
	if r := []rune(id); len(r) > 120 {
		id = string(r[:120])
	}
	return id
}

// connectOutcome: whatever went wrong before MAIL, nothing was sent. A server that refuses us, or our login, will go on doing so.
func connectOutcome(err error) error {
	said, ok := errors.AsType[*textproto.Error](err)
	switch {
	case !ok || said.Code < 500 || said.Code > 599:
		return fmt.Errorf("nothing was sent: %w", err)
	case said.Code >= 530 && said.Code <= 539:
		return &paging.RefusedError{Code: strconv.Itoa(said.Code), Reason: "the mail server refuses our login"}
	}
	return &paging.RefusedError{Code: strconv.Itoa(said.Code), Reason: "the mail server refuses to talk to us"}
}

// outcome reads off what a failed mail came to.
func outcome(err error) error {
	e, ok := errors.AsType[*gomail.SendError](err)
	if !ok {
		return fmt.Errorf("%w: %w", paging.ErrUnknown, err)
	}
	code := e.ErrorCode()
	switch {
	case e.Reason == gomail.ErrSMTPRcptTo && code >= 550 && code <= 553 && !strings.HasPrefix(e.EnhancedStatusCode(), "5.7"): // 5.7: a policy, against us
		return &paging.RefusedError{Code: strconv.Itoa(code), Reason: "the mail server refuses the address", Contact: true}
	case code >= 500:
		return &paging.RefusedError{Code: strconv.Itoa(code), Reason: "the mail server refuses the mail"}
	case code >= 400:
		return fmt.Errorf("nothing was sent: mail server says not now (%d)", code)
	case e.Reason == gomail.ErrSMTPDataClose || e.Reason == gomail.ErrSMTPReset || e.Reason == gomail.ErrAmbiguous:
		return fmt.Errorf("%w: no word after the end of the mail", paging.ErrUnknown)
	}
	return fmt.Errorf("nothing was sent: %w", err)
}

// A wire keeps the connection that the library dials, so that it can be cut: the library closes it by saying QUIT, which has
// no place in the middle of a mail, and leaves it open where the greeting failed.
type wire struct {
	mu     sync.Mutex
	conn   net.Conn
	closed bool
}

func (w *wire) dial(c *tls.Config, secure bool) gomail.DialContextFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		d := net.Dialer{Timeout: 5 * time.Second}
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		conn = &bounded{Conn: conn, left: maxSaid}
		if secure {
			t := tls.Client(conn, c)
			if err = t.HandshakeContext(ctx); err != nil {
				conn.Close()
				return nil, err
			}
			conn = t
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.closed {
			conn.Close()
			return nil, net.ErrClosed
		}
		w.conn = conn
		return conn, nil
	}
}

func (w *wire) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.conn != nil {
		w.conn.Close()
	}
}

// bounded is a connection of which only so much is read.
type bounded struct {
	net.Conn
	left int
}

// Read fails once the server has said more than anybody needs.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the mail server said more than %d bytes", maxSaid)
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
