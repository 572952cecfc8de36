package letter_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"tocsin/paging"
	"tocsin/paging/letter"
)

func TestALetterSaysTheSameInBothForms(t *testing.T) {
	got, err := letter.Write(paging.Message{ID: "p", Text: "lag <340s>\nhost db-1", Link: "https://tocsin.example.org/p/x", CanAnswer: true})
	if err != nil {
		t.Fatal(err)
	}
	if got.Subject != "lag <340s>" {
		t.Errorf("subject = %q, want the first line", got.Subject)
	}
	if want := "lag <340s>\nhost db-1\n\nhttps://tocsin.example.org/p/x\n"; got.Plain != want {
		t.Errorf("plain = %q, want %q", got.Plain, want)
	}
	for _, want := range []string{"lag &lt;340s&gt;", "host db-1", `href="https://tocsin.example.org/p/x"`, "Open and answer", `lang="en"`} {
		if !strings.Contains(got.HTML, want) {
			t.Errorf("html has no %s:\n%s", want, got.HTML)
		}
	}
}

func TestALinkThatIsNoWebAddressIsLeftOut(t *testing.T) { // I8
	for _, link := range []string{"javascript:alert(1)", "data:text/html,x", "//evil.example.org", "file:///etc/passwd", "vbscript:x", " https://a b", "https:"} {
		got, err := letter.Write(paging.Message{ID: "p", Text: "t", Link: link})
		if err != nil || strings.Contains(got.HTML, "href") || strings.Contains(got.Plain, link) {
			t.Errorf("%q: %v %s", link, err, got.HTML)
		}
	}
}

func FuzzWrite(f *testing.F) {
	f.Add("CRIT\r\nBcc: all@example.org", "<script>alert(1)</script>", "https://tocsin.example.org/?a=1&b=2")
	f.Fuzz(func(t *testing.T, subject, text, link string) {
		got, err := letter.Write(paging.Message{ID: "p", Subject: subject, Text: text, Link: link})
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(got.Subject, "\r\n") || strings.Contains(got.HTML, "<script") || !utf8.ValidString(got.Plain) {
			t.Errorf("letter = %+v", got)
		}
	})
}
