package smtp_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin"
	"tocsin/paging"
	"tocsin/paging/smtp"
)

// A server speaks enough SMTP to be told what to say at each step.
type server struct {
	addr  string
	says  map[string]string // command: reply instead of the good one; "-" cuts the connection, "..." says nothing, "!" never ends, "~" never ends and drips
	cert  *tls.Certificate  // nil: STARTTLS is not offered
	mu    sync.Mutex
	mails []string
	heard []string
}

func serve(t *testing.T, says map[string]string) *server {
	t.Helper()
	return serveTLS(t, says, nil)
}

// serveTLS serves with a certificate for STARTTLS.
func serveTLS(t *testing.T, says map[string]string, cert *tls.Certificate) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: ln.Addr().String(), says: says, cert: cert}
	var wg sync.WaitGroup
	done := make(chan struct{})
	t.Cleanup(func() {
		close(done)
		ln.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				stop := make(chan struct{})
				defer close(stop)
				go func() {
					select {
					case <-done:
						c.Close()
					case <-stop:
					}
				}()
				s.talk(c, done)
			})
		}
	})
	return s
}

func (s *server) talk(c net.Conn, done chan struct{}) {
	secure := false
	in := bufio.NewScanner(c)
	in.Buffer(nil, 1<<20)
	say := func(command, good string) bool {
		switch reply := s.says[command]; reply {
		case "":
			fmt.Fprint(c, good+"\r\n")
		case "-":
			return false
		case "...":
			<-done
			return false
		case "!":
			for err := error(nil); err == nil; {
				_, err = fmt.Fprint(c, strings.Repeat("250-more ", 1<<10))
			}
			return false
		case "~":
			for err := error(nil); err == nil; {
				_, err = fmt.Fprint(c, "2")
				select {
				case <-done:
					return false
				case <-time.After(5 * time.Millisecond):
				}
			}
			return false
		default:
			fmt.Fprint(c, reply+"\r\n")
			return reply[0] < '4' || command != "DATA"
		}
		return true
	}
	if !say("greet", "220 ready") {
		return
	}
	for in.Scan() {
		command, _, _ := strings.Cut(strings.ToUpper(in.Text()), " ")
		s.mu.Lock()
		s.heard = append(s.heard, command)
		s.mu.Unlock()
		switch command {
		case "EHLO":
			good := "250-hello\r\n250-ENHANCEDSTATUSCODES\r\n250-AUTH PLAIN\r\n250 8BITMIME"
			if s.cert != nil && !secure {
				good += "\r\n250 STARTTLS"
				good = strings.Replace(good, "250 8", "250-8", 1)
			}
			if !say("EHLO", good) {
				return
			}
		case "STARTTLS":
			if !say("STARTTLS", "220 go on") {
				return
			}
			if s.says["STARTTLS"] == "" {
				c, secure = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*s.cert}}), true
				in = bufio.NewScanner(c)
				in.Buffer(nil, 1<<20)
			}
		case "AUTH":
			if !say("AUTH", "235 2.7.0 it is you") {
				return
			}
		case "DATA":
			if !say("DATA", "354 go on") {
				if s.says["DATA"] == "-" {
					return
				}
				continue
			}
			var b strings.Builder
			for in.Scan() && in.Text() != "." {
				b.WriteString(in.Text() + "\n")
			}
			if in.Text() != "." {
				return // it was cut off: no mail
			}
			if !say("end", "250 2.0.0 queued as 4711") {
				return
			}
			if s.says["end"] == "" {
				s.mu.Lock()
				s.mails = append(s.mails, b.String())
				s.mu.Unlock()
			}
		case "QUIT":
			say("QUIT", "221 bye")
			return
		default:
			if !say(command, "250 2.0.0 ok") {
				return
			}
		}
	}
}

func message() paging.Message {
	return paging.Message{
		ID: "p/1 x", Channel: paging.Email, To: "one@example.org", Person: tocsin.Person{Full: "Person One"}, Priority: 1,
		Subject: "CRIT db-main\r\nBcc: all@example.org", Text: "lag ünter 340s", Link: "https://tocsin.example.org/p/x", CanAnswer: true,
	}
}

func sender(t *testing.T, addr string, o smtp.Options) *smtp.Sender {
	t.Helper()
	if o.TLS == "" {
		o.TLS = smtp.TLSNone
	}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Second
	}
	s, err := smtp.New(addr, "tocsin@example.org", o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAMailHasAPlainAndAnHTMLFormAndAnIDThatStaysTheSame(t *testing.T) {
	srv := serve(t, nil)
	s := sender(t, srv.addr, smtp.Options{FromName: "Tocsin"})
	for range 2 {
		got, err := s.Send(t.Context(), message())
		if err != nil || !strings.Contains(got.ID, "4711") {
			t.Fatalf("send = %v %v", got, err)
		}
	}
	var ids []string
	for _, text := range srv.mails {
		m, err := mail.ReadMessage(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.Header.Get("Message-ID"))
		if m.Header.Get("Bcc") != "" || m.Header.Get("Subject") != "CRIT db-main Bcc: all@example.org" || !strings.Contains(m.Header.Get("Content-Type"), "multipart/alternative") {
			t.Errorf("header = %v", m.Header)
		}
		if !strings.Contains(text, "https://tocsin.example.org/p/x") {
			t.Errorf("mail without its link: %s", text)
		}
	}
	if ids[0] != "<tocsin.p-1-x@example.org>" || ids[0] != ids[1] {
		t.Errorf("message ids = %v", ids)
	}
}

func TestWhatAServerSaysMeans(t *testing.T) {
	for name, tc := range map[string]struct {
		says map[string]string
		o    smtp.Options
		want string
	}{
		"all well":                                {nil, smtp.Options{}, "sent"},
		"cut after the mail was taken":            {map[string]string{"QUIT": "-"}, smtp.Options{}, "sent"},
		"an odd word at the end":                  {map[string]string{"QUIT": "500 what"}, smtp.Options{}, "sent"},
		"no such person":                          {map[string]string{"RCPT": "550 5.1.1 no such user"}, smtp.Options{}, "contact 550"},
		"a full mailbox":                          {map[string]string{"RCPT": "552 5.2.2 full"}, smtp.Options{}, "contact 552"},
		"it does not relay for us":                {map[string]string{"RCPT": "550 5.7.1 relaying denied"}, smtp.Options{}, "setup 550"},
		"our sender is refused":                   {map[string]string{"MAIL": "550 5.7.1 not you"}, smtp.Options{}, "setup 550"},
		"the mail is refused at its end":          {map[string]string{"end": "554 5.7.1 spam"}, smtp.Options{}, "setup 554"},
		"our login is refused":                    {map[string]string{"AUTH": "535 5.7.8 no"}, smtp.Options{Username: "u", Password: "p"}, "setup 535"},
		"come back later, for the person":         {map[string]string{"RCPT": "450 4.2.0 greylisted"}, smtp.Options{}, "nothing sent"},
		"come back later, before the mail":        {map[string]string{"DATA": "451 4.3.0 busy"}, smtp.Options{}, "nothing sent"},
		"come back later, after the mail":         {map[string]string{"end": "451 4.3.0 busy"}, smtp.Options{}, "nothing sent"},
		"cut at the greeting":                     {map[string]string{"greet": "-"}, smtp.Options{}, "nothing sent"},
		"silence at the greeting":                 {map[string]string{"greet": "..."}, smtp.Options{Timeout: 300 * time.Millisecond}, "nothing sent"},
		"cut before the mail":                     {map[string]string{"MAIL": "-"}, smtp.Options{}, "nothing sent"},
		"cut after the mail, before its answer":   {map[string]string{"end": "-"}, smtp.Options{}, "unknown"},
		"silence after the mail":                  {map[string]string{"end": "..."}, smtp.Options{Timeout: 300 * time.Millisecond}, "unknown"},
		"no TLS where TLS is wanted":              {nil, smtp.Options{TLS: smtp.StartTLS}, "nothing sent"},
		"no TLS where it is wanted at the outset": {nil, smtp.Options{TLS: smtp.TLSFromFirst}, "nothing sent"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := serve(t, tc.says)
			_, err := sender(t, srv.addr, tc.o).Send(t.Context(), message())
			if got := words(err); got != tc.want {
				t.Errorf("%s (%v), want %s; heard %v", got, err, tc.want, srv.heard)
			}
		})
	}
}

func TestAServerThatIsNotThereIsKnownToHaveGotNothing(t *testing.T) {
	_, err := sender(t, "127.0.0.1:1", smtp.Options{}).Send(t.Context(), message())
	if got := words(err); got != "nothing sent" {
		t.Errorf("%s (%v)", got, err)
	}
}

func TestAnAddressThatIsNoneIsTheContactsFault(t *testing.T) {
	m := message()
	m.To = "one\r\nBcc: all@example.org"
	_, err := sender(t, "127.0.0.1:1", smtp.Options{}).Send(t.Context(), m)
	if got := words(err); got != "contact to" {
		t.Errorf("%s (%v)", got, err)
	}
}

func words(err error) string {
	if refused, ok := errors.AsType[*paging.RefusedError](err); ok {
		if refused.Contact {
			return "contact " + refused.Code
		}
		return "setup " + refused.Code
	}
	switch {
	case err == nil:
		return "sent"
	case errors.Is(err, paging.ErrUnknown):
		return "unknown"
	}
	return "nothing sent"
}

func TestASenderThatCannotWorkIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		addr, from string
		o          smtp.Options
	}{
		"no port":                      {"mail.example.org", "tocsin@example.org", smtp.Options{}},
		"a port that is none":          {"mail.example.org:smtp!", "tocsin@example.org", smtp.Options{}},
		"a sender that is none":        {"mail.example.org:25", "tocsin", smtp.Options{}},
		"a protection that is none":    {"mail.example.org:25", "tocsin@example.org", smtp.Options{TLS: "maybe"}},
		"a password sent in the clear": {"mail.example.org:25", "tocsin@example.org", smtp.Options{TLS: smtp.TLSNone, Username: "u"}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := smtp.New(tc.addr, tc.from, tc.o); err == nil {
				t.Error("New = nil, want an error")
			}
		})
	}
}
