package console_test

import (
	"net"
	"os"
	"testing"
	"time"
)

// TestDemo serves the night for somebody who wants to look: TOCSIN_DEMO=5m go test -run TestDemo ./internal/api/console
func TestDemo(t *testing.T) {
	d, err := time.ParseDuration(os.Getenv("TOCSIN_DEMO"))
	if err != nil {
		t.Skip("TOCSIN_DEMO is no length such as 5m")
	}
	s := open(t, as{"one", "manager"})
	s.night(t)
	ln, err := net.Listen("tcp", "127.0.0.1:18099")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Config.Serve(ln) }()
	time.Sleep(d)
}
