package console_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"tocsin"
	"tocsin/internal/store"
	"tocsin/parts/partstest"
)

// browse starts a browser of its own, of that width, and returns what runs actions in it.
func browse(t *testing.T, width int64, dark bool) context.Context {
	t.Helper()
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(partstest.Program(t, "chromium")), chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("no-proxy-server", true), chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
	}
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // it refuses root
	}
	ctx, cancel := chromedp.NewContext(t.Context(), chromedp.WithAllocatorOptions(options...))
	t.Cleanup(cancel)
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	run(t, ctx, chromedp.EmulateViewport(width, 800), chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}))
	return ctx
}

func run(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	err := chromedp.Do(ctx, steps...)
	if err != nil {
		t.Fatal(err)
	}
}

// eval returns the value of an expression in the page.
func eval[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// becomes waits until an expression in the page is true.
func becomes(t *testing.T, ctx context.Context, expression string) {
	t.Helper()
	_, err := chromedp.Run(ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(20*time.Second)))
	if err != nil {
		t.Fatalf("%s has not come true: %v; the page says %q", expression, err, eval[string](t, ctx, "document.body.innerText"))
	}
}

func TestScreenshots(t *testing.T) {
	dir := os.Getenv("TOCSIN_SHOTS")
	if dir == "" {
		t.Skip("TOCSIN_SHOTS names no folder to put screenshots of each page into")
	}
	s := open(t, as{"one", "manager"})
	s.night(t)
	for _, look := range []struct {
		name  string
		width int64
		dark  bool
	}{{"light", 1100, false}, {"dark", 1100, true}, {"phone", 360, false}, {"phone-dark", 360, true}} {
		ctx := browse(t, look.width, look.dark)
		for _, page := range []struct{ name, path string }{
			{"list", "/"}, {"incident", "/i/1042"}, {"major", "/m/7"}, {"oncall", "/oncall"}, {"outbox", "/outbox"}, {"ack", "/ack/i-1042-one"}, {"login", "/login?token=x"},
			{"candidate", "/ack/m-7-three"}, {"fault", "/i/5"}, {"resolved", "/?state=resolved"},
		} {
			run(t, ctx, chromedp.Navigate(s.URL+page.path))
			png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, page.name+"-"+look.name+".png"), png, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			if wide := eval[int](t, ctx, "document.documentElement.scrollWidth"); wide > int(look.width) {
				t.Errorf("%s at %d is %d wide", page.name, look.width, wide)
			}
		}
	}
}

var _ = fmt.Sprint
var _ = http.StatusOK
var _ = strings.ToLower
var _ = tocsin.Triggered
var _ store.Timer
