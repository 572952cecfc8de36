package smtp_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin/paging"
	"tocsin/paging/smtp"
)

// An outcome is all that a send came to.
type outcome struct {
	Receipt string
	Refused paging.RefusedError
	Unknown bool
	Later   bool // nothing was sent, and it may be tried again
}

func outcomeOf(r paging.Receipt, err error) outcome {
	o := outcome{Receipt: r.ID}
	refused, ok := errors.AsType[*paging.RefusedError](err)
	switch {
	case err == nil:
	case ok:
		o.Refused = *refused
	case errors.Is(err, paging.ErrUnknown):
		o.Unknown = true
	default:
		o.Later = strings.HasPrefix(err.Error(), "nothing was sent: ")
	}
	return o
}

// P1, P2, P3, P5, P13, at every point where a server can say no, or nothing.
func TestWhatAServerSaysAtEachStepIsWhatBecomesOfTheMail(t *testing.T) {
	cert, roots := certificate(t, "127.0.0.1", time.Now().Add(time.Hour))
	login := smtp.Options{TLS: smtp.StartTLS, Username: "u", Password: "p", Roots: &tls.Config{RootCAs: roots}}
	later, unknown := outcome{Later: true}, outcome{Unknown: true}
	refused := func(code, reason string) outcome {
		return outcome{Refused: paging.RefusedError{Code: code, Reason: reason}}
	}
	person := func(code string) outcome {
		return outcome{Refused: paging.RefusedError{Code: code, Reason: "the mail server refuses the address", Contact: true}}
	}
	const talk, loginRefused, mail = "the mail server refuses to talk to us", "the mail server refuses our login", "the mail server refuses the mail"
	for step, want := range map[string]map[string]outcome{
		"greet":    {"421 4.3.2 too busy": later, "554 5.7.1 go away": refused("554", talk)},
		"EHLO":     {"421 4.3.2 too busy": later, "550 5.7.1 go away": refused("550", talk)},
		"STARTTLS": {"454 4.7.0 not now": later, "502 5.5.1 no": refused("502", talk)},
		"AUTH":     {"454 4.7.0 not now": later, "535 5.7.8 no": refused("535", loginRefused), "504 5.5.4 no such way": refused("504", talk)},
		"MAIL":     {"451 4.3.0 not now": later, "452 4.3.1 no room": later, "421 4.3.2 too busy": later, "550 5.7.1 not you": refused("550", mail)},
		"RCPT": {
			"450 4.2.0 greylisted": later, "451 4.7.1 greylisted": later, "452 4.5.3 too many": later, "421 4.3.2 too busy": later, "550 5.1.1 no such user": person("550"),
			"551 5.1.6 moved": person("551"), "552 5.2.2 full": person("552"), "553 5.1.3 no address": person("553"), "550 5.7.1 no relay": refused("550", mail), "554 5.7.1 no": refused("554", mail),
		},
		"DATA": {"451 4.3.0 not now": later, "421 4.3.2 too busy": later, "554 5.5.1 no": refused("554", mail)},
		"end": {
			"451 4.3.0 not now": later, "452 4.3.1 no room": later, "421 4.3.2 too busy": later, "552 5.3.4 too big": refused("552", mail), "554 5.7.1 spam": refused("554", mail),
			"354 go on": unknown,
		},
	} {
		// What no server that means well says.
		silence := later
		if step == "end" {
			silence = unknown
		}
		for _, said := range []string{"-", "...", "!", "~", "hello", "999 what", "\x00\xff"} {
			want[said] = silence
		}
		for said, want := range want {
			name := step + " " + map[string]string{"-": "cut", "...": "silent", "!": "without an end", "~": "in drips", "\x00\xff": "binary"}[said]
			if strings.HasSuffix(name, " ") {
				name += said
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				says := map[string]string{step: said}
				if step == "EHLO" {
					says["HELO"] = said
				}
				o := login
				o.Timeout = 10 * time.Second
				if said == "..." || said == "~" || said == "hello" || said == "\x00\xff" {
					o.Timeout = 500 * time.Millisecond
				}
				srv := serveTLS(t, says, cert)
				if diff := cmp.Diff(want, outcomeOf(sender(t, srv.addr, o).Send(t.Context(), message()))); diff != "" {
					t.Errorf("outcome (-want +got):\n%s heard %v", diff, srv.heard)
				}
				srv.mu.Lock()
				defer srv.mu.Unlock()
				if len(srv.mails) != 0 {
					t.Errorf("the server has %d mails, want none", len(srv.mails))
				}
			})
		}
	}
	t.Run("all well", func(t *testing.T) {
		srv := serveTLS(t, nil, cert)
		if diff := cmp.Diff(outcome{Receipt: "2.0.0 queued as 4711"}, outcomeOf(sender(t, srv.addr, login).Send(t.Context(), message()))); diff != "" {
			t.Errorf("outcome (-want +got):\n%s heard %v", diff, srv.heard)
		}
	})
}

// N2: nobody is told who is to be paged whom we do not know.
func TestACertificateThatIsWrongEndsBeforeAnythingIsSaid(t *testing.T) {
	good, roots := certificate(t, "127.0.0.1", time.Now().Add(time.Hour))
	late, lateRoots := certificate(t, "127.0.0.1", time.Now().Add(-time.Hour))
	other, otherRoots := certificate(t, "127.0.0.2", time.Now().Add(time.Hour))
	for name, tc := range map[string]struct {
		cert  *tls.Certificate
		roots *x509.CertPool
		why   string
	}{
		"of nobody we trust":   {good, otherRoots, "unknown authority"},
		"of the machine's own": {good, nil, "unknown authority"},
		"that has ended":       {late, lateRoots, "expired"},
		"of another host":      {other, otherRoots, "127.0.0.2"},
		"none is offered":      {nil, roots, "does not support STARTTLS"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := serveTLS(t, nil, tc.cert)
			o := smtp.Options{TLS: smtp.StartTLS, Username: "u", Password: "p", Roots: &tls.Config{RootCAs: tc.roots}}
			r, err := sender(t, srv.addr, o).Send(t.Context(), message())
			if diff := cmp.Diff(outcome{Later: true}, outcomeOf(r, err)); diff != "" || !strings.Contains(err.Error(), tc.why) {
				t.Errorf("outcome (-want +got):\n%s%v, want it to say %q", diff, err, tc.why)
			}
			srv.mu.Lock()
			defer srv.mu.Unlock()
			for _, command := range srv.heard {
				if command == "AUTH" || command == "MAIL" {
					t.Errorf("the server heard %v", srv.heard)
				}
			}
		})
	}
}

// P3
func TestWhereNoServerIsNothingWasSent(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := ln.Addr().String()
	ln.Close()
	for name, addr := range map[string]string{"nobody listens": free, "the name is not there": "tocsin.invalid:25"} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(outcome{Later: true}, outcomeOf(sender(t, addr, smtp.Options{}).Send(t.Context(), message()))); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
		})
	}
}

// certificate makes one for an address, and the pool that trusts it.
func certificate(t *testing.T, ip string, until time.Time) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: until, IPAddresses: []net.IP{net.ParseIP(ip)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, made, made, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}
