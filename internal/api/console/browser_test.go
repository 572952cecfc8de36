package console_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
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

// becomes waits until an expression in the page is true, also of the page that is loaded meanwhile.
func becomes(t *testing.T, ctx context.Context, expression string) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		_, err = chromedp.Run(ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(5*time.Second))) // fails when the page goes
		if err == nil {
			return
		}
	}
	t.Fatalf("%s has not come true: %v; the page says %.2000q", expression, err, eval[string](t, ctx, "document.body.innerText"))
}

// TestScreenshots takes the pictures of docs/img, and writes them there by
// TOCSIN_SHOTS=$PWD/docs/img go test -run TestScreenshots ./internal/api/console
func TestScreenshots(t *testing.T) {
	dir := cmp.Or(os.Getenv("TOCSIN_SHOTS"), t.TempDir())
	s := open(t, as{"one", "manager"})
	s.night(t)
	for _, look := range []struct {
		width int64
		dark  bool
		pages map[string]string
	}{
		{1000, false, map[string]string{"list": "/", "incident": "/i/1042", "major": "/m/7", "oncall": "/oncall", "outbox": "/outbox"}},
		{1000, true, map[string]string{"list-night": "/"}},
		{360, false, map[string]string{"mail-link": "/ack/i-1042-one"}},
		{360, true, map[string]string{"phone": "/i/1042", "phone-list": "/"}},
	} {
		ctx := browse(t, look.width, look.dark)
		for name, path := range look.pages {
			run(t, ctx, chromedp.Navigate(s.URL+path))
			shot, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
			if err == nil {
				shot, err = small(shot)
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, name+".png"), shot, 0o644) //nolint:gosec // a picture for everybody
			}
			if err != nil {
				t.Fatal(err)
			}
			looksRight(t, filepath.Join(dir, name+".png"), int(look.width), look.dark)
		}
	}
}

// looksRight checks the picture of a page: as wide as the window and at least as high, with something on it, by day or by night.
func looksRight(t *testing.T, path string, width int, dark bool) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	shot, ok := img.(*image.Paletted)
	size := img.Bounds().Size()
	if !ok || size.X != width || size.Y < 800 || size.Y > 10_000 {
		t.Fatalf("%s is %T, %d by %d, want a paletted one of %d by 800 or more", path, img, size.X, size.Y, width)
	}
	var seen [256]int
	for _, c := range shot.Pix {
		seen[c]++
	}
	colours, bright := 0, 0
	for i, c := range shot.Palette {
		if seen[i] > 0 {
			colours++
		}
		if l, _, _, _ := color.GrayModel.Convert(c).RGBA(); l > 1<<15 {
			bright += seen[i]
		}
	}
	if colours < 16 {
		t.Errorf("%s has %d colours: nothing is on it", path, colours)
	}
	if night := 2*bright < size.X*size.Y; night != dark {
		t.Errorf("%s is dark: %v, want %v", path, night, dark)
	}
}

// small writes a picture with the 256 colours it has most of: a page of flat colours loses nothing that can be seen.
func small(shot []byte) ([]byte, error) {
	img, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		return nil, err
	}
	r := img.Bounds()
	flat := image.NewRGBA(r)
	draw.Draw(flat, r, img, r.Min, draw.Src)
	seen := map[uint32]int{} // by the four bytes of a colour
	for i := 0; i < len(flat.Pix); i += 4 {
		seen[binary.BigEndian.Uint32(flat.Pix[i:])]++
	}
	weight := func(c uint32) int { // what has colour counts more than the greys at the edges of letters
		r, g, b := c>>24, c>>16&0xff, c>>8&0xff
		return seen[c] * (1 + int(max(r, g, b)-min(r, g, b))>>2)
	}
	colours := slices.SortedFunc(maps.Keys(seen), func(a, b uint32) int { return cmp.Or(weight(b)-weight(a), cmp.Compare(a, b)) })
	out := image.NewPaletted(r, nil)
	for _, c := range colours[:min(256, len(colours))] {
		out.Palette = append(out.Palette, rgba(c))
	}
	near := map[uint32]uint8{}
	for _, c := range colours {
		near[c] = uint8(out.Palette.Index(rgba(c))) //nolint:gosec // of at most 256
	}
	for i := range out.Pix {
		out.Pix[i] = near[binary.BigEndian.Uint32(flat.Pix[4*i:])]
	}
	var b bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, out)
	return b.Bytes(), err
}

func rgba(c uint32) color.RGBA {
	return color.RGBA{uint8(c >> 24), uint8(c >> 16), uint8(c >> 8), uint8(c)} //nolint:gosec // its four bytes
}

func TestAnIncidentAppearsWithoutLoadingThePageAgain(t *testing.T) {
	s := open(t, as{"one", "responder"})
	s.night(t)
	ctx := browse(t, 1100, false)
	run(t, ctx, chromedp.Navigate(s.URL+"/"))
	becomes(t, ctx, `document.querySelector("#pulse").textContent === "Live"`)
	eval[bool](t, ctx, `window.mine = true; document.querySelector("[name=service]").value = "half typ"; document.querySelector("#joined, #i1047 button").focus(); true`)
	s.update(t, func(tx *store.Tx) error {
		return tx.PutIncidents([]tocsin.Incident{{
			ID: 1050, State: tocsin.Triggered, Title: "search is down", Service: "search", Priority: 3, Severity: tocsin.Critical, Urgency: tocsin.UrgencyHigh, OpenedAt: now, Open: 1, Alerts: 1,
		}})
	})
	s.say(`{"seq":9,"kind":"opened","incident":"i1050"}`)
	becomes(t, ctx, `!!document.querySelector("#waiting #i1050")`)
	if got := eval[string](t, ctx, `document.querySelector(".toast").textContent`); got != "New: search is down" {
		t.Errorf("the toast says %q", got)
	}
	if got := eval[string](t, ctx, `document.title`); got != "(9) Incidents · tocsin" {
		t.Errorf("title = %q", got)
	}
	if !eval[bool](t, ctx, `window.mine === true && document.querySelector("[name=service]").value === "half typ"`) {
		t.Error("the page was loaded again, or what was typed is lost")
	}
	if got := eval[string](t, ctx, `document.activeElement.closest("li").id`); got != "i1047" {
		t.Errorf("the focus has moved to %q", got)
	}
	// What another person takes leaves the group, and the focus of others stays.
	_, err := s.desk.Incident(t.Context(), 1046, tocsin.DoAck, "two", "")
	if err != nil {
		t.Fatal(err)
	}
	s.say(`{"kind":"do-ack","incident":"i1046"}`)
	becomes(t, ctx, `!!document.querySelector("#in-hand #i1046") && !document.querySelector("#waiting #i1046")`)
	if got := eval[string](t, ctx, `document.activeElement.closest("li").id`); got != "i1047" {
		t.Errorf("the focus has moved to %q", got)
	}
}

func TestTheLiveSignSaysWhenTheFeedIsLostAndFoundAgain(t *testing.T) {
	s := open(t, as{"one", "responder"})
	s.night(t)
	ctx := browse(t, 1100, false)
	run(t, ctx, chromedp.Navigate(s.URL+"/i/1042"))
	becomes(t, ctx, `document.querySelector("#pulse").textContent === "Live"`)
	s.mu.Lock()
	s.lost = true
	s.mu.Unlock()
	s.CloseClientConnections()
	becomes(t, ctx, `document.querySelector("#pulse").textContent === "Reconnecting"`)
	_, err := s.desk.Incident(t.Context(), 1042, tocsin.DoAck, "two", "")
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.lost = false
	s.mu.Unlock()
	becomes(t, ctx, `document.querySelector("#pulse").textContent === "Live" && document.querySelector(".owner").textContent.startsWith("Person Two has it")`)
}

func TestANoteBeingWrittenSurvivesWhatHappensMeanwhile(t *testing.T) {
	s := open(t, as{"one", "responder"})
	s.night(t)
	ctx := browse(t, 1100, false)
	run(t, ctx, chromedp.Navigate(s.URL+"/i/1042"))
	becomes(t, ctx, `document.querySelector("#pulse").textContent === "Live"`)
	run(t, ctx, chromedp.SendKeys(chromedp.CSS("#note"), "I am on "))
	eval[bool](t, ctx, `document.querySelector("#a2 details").open = true`)
	_, err := s.desk.Incident(t.Context(), 1042, tocsin.DoAck, "two", "")
	if err != nil {
		t.Fatal(err)
	}
	s.say(`{"kind":"do-ack","incident":"i1042"}`)
	becomes(t, ctx, `document.querySelector(".owner").textContent.startsWith("Person Two has it")`)
	run(t, ctx, chromedp.KeyEvent("it\r"))
	becomes(t, ctx, `document.querySelector(".said")?.textContent === "Noted on 42 db-main."`)
	want := []string{`do-ack i1042 by two ""`, `do-note i1042 by one "I am on it"`} // Enter in a note writes the note, and does nothing else
	if got := s.desk.asked(); !slices.Equal(got, want) {
		t.Errorf("asked of the desk: %q, want %q", got, want)
	}
}

func TestAnIncidentIsAcknowledgedByAButton(t *testing.T) {
	s := open(t, as{"one", "responder"})
	s.night(t)
	ctx := browse(t, 1100, false)
	run(t, ctx, chromedp.Navigate(s.URL+"/"), chromedp.Click(chromedp.CSS("#i1042 button")))
	becomes(t, ctx, `document.querySelector(".said")?.textContent.startsWith("42 db-main is yours") && location.pathname === "/"`)
	becomes(t, ctx, `!!document.querySelector("#in-hand #i1042")`)
}

func TestTheKeyboardAloneIsEnough(t *testing.T) {
	s := open(t, as{"one", "responder"})
	s.night(t)
	ctx := browse(t, 1100, false)
	run(t, ctx, chromedp.Navigate(s.URL+"/"))
	tabTo := func(selector string) {
		t.Helper()
		for range 60 {
			run(t, ctx, chromedp.KeyEvent("\t"))
			if eval[bool](t, ctx, fmt.Sprintf(`document.activeElement.matches(%q)`, selector)) {
				if eval[string](t, ctx, `getComputedStyle(document.activeElement).outlineStyle`) != "solid" {
					t.Errorf("%s has the focus, and does not show it", selector)
				}
				return
			}
		}
		t.Fatalf("sixty tabs do not lead to %s", selector)
	}
	tabTo(".skip")
	tabTo("#i1042 .title")
	run(t, ctx, chromedp.KeyEvent("\r"))
	becomes(t, ctx, `location.pathname === "/i/1042" && document.readyState === "complete"`)
	tabTo("#act button[value=ack]")
	run(t, ctx, chromedp.KeyEvent("\r"))
	becomes(t, ctx, `document.querySelector(".owner").textContent.startsWith("yours")`)
	if got := s.desk.asked(); !slices.Equal(got, []string{`do-ack i1042 by one ""`}) {
		t.Errorf("asked of the desk: %q", got)
	}
}

func TestNoPageIsWiderThanAPhone(t *testing.T) {
	s := open(t, as{"one", "admin"})
	s.night(t)
	s.hostile(t)
	for _, width := range []int64{320, 360} {
		ctx := browse(t, width, true)
		for _, path := range []string{"/", "/i/1042", "/i/2000", "/m/7", "/oncall", "/outbox", "/ack/i-1042-one", "/login", "/i/5"} {
			run(t, ctx, chromedp.Navigate(s.URL+path))
			if wide := eval[int64](t, ctx, "document.documentElement.scrollWidth"); wide > width {
				t.Errorf("%s is %d wide on a phone of %d: %s", path, wide, width, eval[string](t, ctx,
					`[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + "." + e.className).slice(0, 5).join(" ")`))
			}
			if small := eval[string](t, ctx, `[...document.querySelectorAll("button:not(.plain), nav a")].filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 32).map(e => e.textContent).join("|")`); small != "" {
				t.Errorf("%s: too small for a thumb: %s", path, small)
			}
		}
	}
}

// Text against its background, as the guidelines count: 4.5 at least, 3 for large text. Every text on every page, by day and by night.
func TestEveryTextCanBeRead(t *testing.T) {
	s := open(t, as{"one", "manager"})
	s.night(t)
	for _, dark := range []bool{false, true} {
		ctx := browse(t, 1100, dark)
		for _, path := range []string{"/", "/i/1042", "/i/1038", "/i/1029", "/m/7", "/oncall", "/outbox", "/ack/i-1042-one", "/ack/m-7-three", "/login?failed=x", "/i/5"} {
			run(t, ctx, chromedp.Navigate(s.URL+path))
			if bad := eval[[]string](t, ctx, contrast); len(bad) > 0 {
				t.Errorf("%s, dark %v: %s", path, dark, strings.Join(bad, "; "))
			}
		}
	}
}

const contrast = `(() => {
  const rgb = (c) => { const m = c.match(/[\d.]+/g).map(Number); return m.length === 3 ? [...m, 1] : m; };
  const lum = (c) => { const f = c.slice(0, 3).map((v) => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * f[0] + .7152 * f[1] + .0722 * f[2]; };
  const out = new Set();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n; (n = walk.nextNode());) {
    const e = n.parentElement;
    if (!n.nodeValue.trim() || !e.checkVisibility() || e.closest(".sr, .skip, svg, noscript, datalist")) continue;
    let back = [0, 0, 0, 0];
    for (let b = e; b && back[3] === 0; b = b.parentElement) back = rgb(getComputedStyle(b).backgroundColor);
    const s = getComputedStyle(e), a = lum(rgb(s.color)), b = lum(back);
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05), size = parseFloat(s.fontSize);
    if (ratio < (size >= 24 || size >= 18.66 && s.fontWeight >= 700 ? 3 : 4.5)) out.add(ratio.toFixed(2) + " " + s.color + " on " + back + ": " + n.nodeValue.trim().slice(0, 40));
  }
  return [...out];
})()`

// hostile fills s with what senders and people may write to do harm, one alert and one note each; it is incident 2000.
func (s *site) hostile(t testing.TB) {
	t.Helper()
	var alerts []tocsin.Alert
	for n, text := range payloads {
		alerts = append(alerts, tocsin.Alert{
			ID: int64(5000 + n), Incident: 2000, Status: tocsin.Firing, Severity: tocsin.Warning, Word: text, Summary: text, About: text, Source: "scripts", Key: text, URL: text,
			Fingerprint: tocsin.Fingerprint{byte(n), byte(n >> 8), 7}, StartsAt: now, FirstAt: now, LastAt: now, Count: 1, Labels: tocsin.NewLabels(map[string]string{"text": text, text: "name"}),
			Annotations: tocsin.NewLabels(map[string]string{"summary": text, "runbook_url": text}), Why: tocsin.Why{Rule: text, Matchers: []string{text}, Group: map[string]string{text: text}, Joined: text},
		})
	}
	all := strings.Join(payloads, " ")
	s.update(t, func(tx *store.Tx) error {
		err := errors.Join(tx.PutAlerts(alerts), tx.PutIncidents([]tocsin.Incident{{
			ID: 2000, State: tocsin.Triggered, Title: all, Service: payloads[0], Key: all, Rule: all, Escalation: all, Team: all, Priority: 3, Severity: tocsin.Warning, OpenedAt: now,
			Open: len(alerts), Alerts: len(alerts), AckedBy: payloads[1],
		}}), tx.InsertPages([]tocsin.Page{{
			ID: "hostile", Kind: tocsin.KindPage, Incident: 2000, Person: all, Channel: payloads[0], Provider: all, State: tocsin.PageFailed, DueAt: now, Error: all,
		}}), tx.PutMajors([]tocsin.Major{{
			ID: 9, State: tocsin.Confirmed, Title: all, Rule: all, Scope: tocsin.NewLabels(map[string]string{payloads[0]: all}), Priority: 1, LedBy: all, DecidedBy: all, DecidedAt: now,
			ProposedAt: now, Incidents: []int64{2000}, Phase: all,
		}}))
		for _, text := range payloads {
			data, bad := json.Marshal(map[string]any{"note": text, "why": text, "paging": []string{text}, "steps": []map[string]string{{"kind": text, "summary": text, "why": text}}})
			err = errors.Join(err, bad, change(tx, tocsin.Change{At: now, Actor: text, Kind: tocsin.DoNote, Incident: 2000, Data: data}), change(tx, tocsin.Change{At: now, Actor: text, Kind: text, Major: 9, Data: data}))
			for _, channel := range []string{"sms", "voice", "email"} {
				_, bad = tx.AddSandbox(store.SandboxMessage{Page: text, Channel: channel, To: text, Person: text, Subject: text, Text: text, Link: text, At: now})
				err = errors.Join(err, bad)
			}
		}
		return err
	})
}

// payloads are what tries to be more than text: in elements, attributes, addresses and scripts.
var payloads = []string{
	`<script>hit()</script>`, `"><script>hit()</script>`, `'><img src=x onerror=hit()>`, `<img src=x onerror="hit()">`, `<svg onload=hit()>`, `<svg><script>hit()</script></svg>`,
	`<iframe srcdoc="<script>parent.hit()</script>">`, `<body onload=hit()>`, `<details open ontoggle=hit()>`, `<a href="javascript:hit()">x</a>`, `javascript:hit()`, `JaVaScRiPt:hit()`,
	"java\tscript:hit()", `data:text/html,<script>hit()</script>`, `" onmouseover="hit()`, `" autofocus onfocus="hit()`, `' onfocus='hit()' autofocus='`, "`onerror=hit()`", `</title><script>hit()</script>`,
	`</textarea><script>hit()</script>`, `</style><script>hit()</script>`, `<!--><script>hit()</script>-->`, `<![CDATA[<script>hit()</script>]]>`, `&lt;script&gt;hit()&lt;/script&gt;`,
	`{{.Viewer}} {{template "layout"}}`, `${hit()}`, `<math><mtext></p><script>hit()</script>`, `<form action="//evil.example.org"><button>`, `<meta http-equiv="refresh" content="0;url=//evil.example.org">`,
	`<link rel=stylesheet href=//evil.example.org>`, `<base href="//evil.example.org/">`, `<style>*{display:none}</style>`, `[x](javascript:hit())`, `<object data="javascript:hit()">`, `<embed src="javascript:hit()">`,
	"\x00<script>hit()</script>", "<scr\x00ipt>hit()</scr\x00ipt>", "\u202e<script>hit()</script>", "\u2028hit()", "\ufeff\u200b\u061c", "\x1b[31mred", "\xff\xfe<script>hit()", "\r\nSet-Cookie: a=b\r\n\r\n<script>hit()</script>",
	`＜script＞hit()＜/script＞`, `+ADw-script+AD4-hit()+ADw-/script+AD4-`, `%3Cscript%3Ehit()%3C/script%3E`, `\u003cscript\u003ehit()\u003c/script\u003e`, `'; DROP TABLE incident; --`, `=cmd|' /C calc'!A0`,
	`<x onclick=hit() tabindex=1 autofocus>`, `<input autofocus onfocus=hit()>`, `<video><source onerror=hit()></video>`, `<marquee onstart=hit()>`, `http://x/"onmouseover="hit()`, `https://x/?"><script>hit()</script>`,
	strings.Repeat("x", 5000), strings.Repeat("ü", 3000), strings.Repeat("e\u0301", 500), "\U0001F469\u200d\U0001F4BB 한국어 עברית العربية",
}

func TestWhatSendersWriteIsTextOnEveryPage(t *testing.T) {
	s := open(t, as{"one", "manager"})
	s.hostile(t)
	ctx := browse(t, 1100, false)
	run(t, ctx, chromedp.Navigate(s.URL+"/login"))
	watch := `window.hits = 0; window.hit = () => { window.hits++; }; window.broken = []; addEventListener("securitypolicyviolation", (e) => broken.push(e.violatedDirective + " " + e.blockedURI));`
	run(t, ctx, chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: watch})
		return err
	}))
	for _, path := range []string{"/", "/?service=%22%3E%3Cscript%3Ehit()%3C%2Fscript%3E", "/i/2000?alerts=all", "/m/9", "/outbox", "/ack/i-2000-one", "/ack/m-9-one", "/login?token=%22%3E%3Cscript%3Ehit()%3C%2Fscript%3E"} {
		run(t, ctx, chromedp.Navigate(s.URL+path))
		eval[bool](t, ctx, `document.querySelectorAll("details").forEach((d) => d.open = true); document.querySelectorAll("[tabindex], input, a").forEach((e) => { e.focus(); e.dispatchEvent(new MouseEvent("mouseover", { bubbles: true })); }); true`)
		if hits := eval[int](t, ctx, "window.hits"); hits != 0 {
			t.Errorf("%s: %d scripts of senders have run", path, hits)
		}
		if broken := eval[[]string](t, ctx, "window.broken"); len(broken) > 0 {
			t.Errorf("%s: the policy had to stop %v", path, broken)
		}
		found := eval[string](t, ctx, `[...document.querySelectorAll("main script, main img, main iframe, main style, main link, main meta, main base, main object, main embed, main video, main math, x")].map((e) => e.outerHTML).join(" ")`)
		if found != "" {
			t.Errorf("%s: text has become elements: %s", path, found)
		}
		if bad := eval[string](t, ctx, `[...document.links].map((a) => a.protocol).filter((p) => p !== "http:" && p !== "https:").join(" ")`); bad != "" {
			t.Errorf("%s: links to %s", path, bad)
		}
	}
}
