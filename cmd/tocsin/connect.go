package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tocsin/internal/app"
	"tocsin/internal/client"
)

const defaultURL = "http://127.0.0.1:8080"

// A connection is how a command finds its server, and what it shows itself by there.
type connection struct {
	w         *world
	url       string
	token     string
	tokenFile string
	timeout   time.Duration
	json      bool
	utc       bool
}

// connect gives a command the flags of all that speak to a server.
func (w *world) connect(cmd *cobra.Command) *connection {
	c := &connection{w: w}
	f := cmd.PersistentFlags()
	c.addServer(f)
	f.StringVar(&c.token, "token", "", "token of access.tokens (TOCSIN_TOKEN)")
	f.BoolVar(&c.json, "json", false, "print one JSON document")
	f.BoolVar(&c.utc, "utc", false, "print times in UTC, not in the local zone")
	return c
}

func (c *connection) addServer(f *pflag.FlagSet) {
	f.StringVar(&c.url, "url", "", "the server's address (TOCSIN_URL; else "+defaultURL+")")
	f.StringVar(&c.tokenFile, "token-file", "", "file that holds the token")
	f.DurationVar(&c.timeout, "timeout", 15*time.Second, "longest wait for one answer")
}

// client returns a client of our API.
func (c *connection) client() (*client.Client, error) {
	token, err := c.given("TOCSIN_TOKEN")
	if err != nil {
		return nil, err
	}
	if token == "" {
		token, err = c.fromStarter("token", app.Keyring.Robot)
		if err != nil {
			return nil, err
		}
	}
	return c.clientWith(token)
}

func (c *connection) clientWith(token string) (*client.Client, error) {
	if c.timeout <= 0 {
		return nil, wrongUse("--timeout %s: it has to be longer than nothing", c.timeout)
	}
	cl, err := client.New(c.address(), client.Options{Token: token, Timeout: c.timeout, UserAgent: userAgent()})
	if err != nil {
		return nil, wrongUse("%s", err)
	}
	return cl, nil
}

func (c *connection) address() string { return cmp.Or(c.url, c.w.env("TOCSIN_URL"), defaultURL) }

// given returns the token that the user gave: by flag, file, or the first of the variables that is set. "" is none.
func (c *connection) given(variables ...string) (string, error) {
	if c.token != "" && c.tokenFile != "" {
		return "", wrongUse("--token and --token-file: only one of them")
	}
	if c.tokenFile != "" {
		b, err := os.ReadFile(c.tokenFile)
		if err != nil {
			return "", fmt.Errorf("token: %w", err)
		}
		return strings.TrimSpace(string(b)), nil
	}
	token := c.token
	for _, name := range variables {
		token = cmp.Or(token, c.w.env(name))
	}
	return token, nil
}

// fromStarter returns a secret of the starter set-up in the working directory, and says so; "" where there is none. It is
// given to nobody but a server on this machine.
func (c *connection) fromStarter(what string, pick func(app.Keyring) string) (string, error) {
	if !loopback(c.address()) {
		return "", nil
	}
	s, there, err := app.ReadKeyring(starterPath)
	if err != nil {
		return "", err
	}
	if !there || pick(s) == "" {
		return "", nil
	}
	fmt.Fprintf(c.w.stderr, "tocsin: %s taken from %s\n", what, starterPath)
	return pick(s), nil
}

// calendar returns the form that times are printed in.
func (c *connection) calendar() calendar {
	if c.utc {
		return calendar{time.UTC}
	}
	return calendar{c.w.zone}
}

// loopback reports whether an address is on this machine.
func loopback(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// pause waits for d, or less long where ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
