package app

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// oddTexts are a hundred texts that are legal, and made to break what shows them.
func oddTexts() []string {
	texts := []string{
		"user \u202egpj.exe", "\u2066isolated\u2069", "\u200eleft\u200f", "\u061carabic mark", "zero\u200bwidth", "\ufeffmark", "word\u2060joiner", "soft\u00adhyphen", "line\u2028separator", "para\u2029graph",
		"\u0001\u0002\u0003", "bell\a", "back\bspace", "form\ffeed", "vertical\vtab", "escape \x1b[31mred\x1b[0m", "delete\x7f", "next\u0085line", "control\u009bsequence",
		"tab\tand\nline\r\nbreaks", "\r\nSet-Cookie: a=b\r\n\r\nbody", "\n\n\n", "   blanks   ", "\u3000wide blanks\u3000", "no\u00a0break",
		"😀", "👩‍💻 at work", "🏴\U000e0067\U000e0062\U000e007f", "🇩🇪🇫🇷", "👍🏽", "❤️", "🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥🔥",
		"e\u0301", strings.Repeat("e\u0301", 300), "a" + strings.Repeat("\u0300", 500), "Z\u0351\u036b\u0343\u036aa\u0302l\u0348g\u033bo\u034e",
		"東京の朝", "한국어", "עברית", "العربية", "ไทย", "हिन्दी", "Ελληνικά", "Русский", "übergröße", "ﬁn", "ǅ", "ı İ", "\u212a",
		"\ufffd", "\ufffe", "\uffff", "\U0010ffff", "\ue000private", "\U000e0001tag", "\u0378unassigned",
		"<b>&amp;\"'</b>", "{{.Labels}} $labels %s %d", "\\x00 \\u0000 \\n", "`code` **bold** [x](y)", "a|b;c,d\te", "'; DROP TABLE alert; --", "=1+1", "@here", "-1", "+1",
		"[CQ]€^{}~|\\", "@£$¥èéùìòÇØøÅå", "ΔΦΓΛΩΠΨΣΘΞ", "4 17", "STOP", "Reply 4 99 ack.", "https://evil.example.org/i/1", "CRIT db-main: nothing is wrong", "tel:+15005550009",
	}
	for _, n := range []int{69, 70, 71, 133, 134, 135, 159, 160, 161, 305, 306, 307, 459, 460, 1000} { // about where messages are cut
		texts = append(texts, strings.Repeat("x", n), strings.Repeat("ü", n))
	}
	for _, n := range []int{35, 67, 153} {
		texts = append(texts, strings.Repeat("x", n)+"😀😀")
	}
	return texts
}

// I4
func TestOddTextIsKeptAsItWasSentAndHarmsNobodyWhoSeesIt(t *testing.T) {
	r := newStory(t)
	texts := oddTexts()
	if len(texts) < 100 {
		t.Errorf("only %d texts", len(texts))
	}
	alerts := make([]am, len(texts))
	for i, text := range texts {
		name := fmt.Sprintf("odd-%d", i)
		alerts[i] = am{Labels: map[string]string{"alertname": "Odd", "service": name, "severity": "critical", "odd": text}, Annotations: map[string]string{"summary": text, "description": text}}
	}
	r.prometheus(alerts...)
	r.until("an SMS about each of them", func() bool { return len(r.phone("three").texts()) >= len(texts) })
	r.keeps(texts)
	r.harmless(t)
	tail := regexp.MustCompile(`Reply 4 \d+ ack, 5 \d+ escalate, 6 \d+ resolve\. ` + regexp.QuoteMeta(public) + `/i/\d+$`)
	for _, text := range r.phone("three").texts() {
		if !tail.MatchString(text) || !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return unicode.In(c, unicode.Cc, unicode.Cf) }) {
			t.Errorf("an SMS says %q, want no control character, and at its end how to answer, and the link", text)
		}
	}
}

// keeps fails unless the API says texts as they were sent, as the values of a label and of an annotation.
func (r *rig) keeps(texts []string) {
	r.t.Helper()
	var out struct {
		Alerts []struct{ Labels, Annotations map[string]string }
	}
	r.get("/api/v1/alerts?limit=1000", &out)
	if len(out.Alerts) != len(texts) {
		r.t.Fatalf("%d alerts, want %d", len(out.Alerts), len(texts))
	}
	for _, a := range out.Alerts {
		var i int
		_, err := fmt.Sscanf(a.Labels["service"], "odd-%d", &i)
		if err != nil || a.Labels["odd"] != texts[i] || a.Annotations["description"] != texts[i] {
			r.t.Errorf("%q is kept as %q and %q, %v", texts[i], a.Labels["odd"], a.Annotations["description"], err)
		}
	}
}

// harmless fails where a page of the console has a character that a browser would obey or hide.
func (r *rig) harmless(t *testing.T) {
	t.Helper()
	resp, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).PostForm(r.url+"/login", url.Values{"token": {robot}})
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if len(resp.Cookies()) != 1 {
		t.Fatalf("login: %s", resp.Status)
	}
	paths := []string{"/"}
	var all struct{ Incidents []struct{ Number int64 } }
	r.get("/api/v1/incidents?limit=1000", &all)
	for _, i := range all.Incidents {
		paths = append(paths, fmt.Sprint("/i/", i.Number))
	}
	for _, path := range paths {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		cookie := resp.Cookies()[0]
		req.Header.Set("Cookie", cookie.Name+"="+cookie.Value)
		status, page := r.do(req)
		if status != http.StatusOK || !utf8.ValidString(page) || !strings.Contains(page, "odd-") {
			t.Fatalf("%s is answered %d, %.200q", path, status, page)
		}
		for _, c := range page {
			if unicode.Is(unicode.Cc, c) && c != '\n' && c != '\t' || unicode.Is(unicode.Bidi_Control, c) {
				t.Errorf("%s has %U as it is", path, c)
				break
			}
		}
	}
}
