package tocsin

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestAHandleIsTheTextOrAsMuchAsAnIndexHoldsAndNoTwoTextsShareOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Repeat(rapid.StringN(1, 40, -1).Draw(t, "text"), rapid.IntRange(0, 200).Draw(t, "times"))
		got := Handle(text)
		if len(text) <= maxHandle && got != text {
			t.Fatalf("the handle of %d bytes is %q, want the text", len(text), got)
		}
		if len(got) > maxHandle || !utf8.ValidString(got) {
			t.Fatalf("the handle has %d bytes, valid %t; want at most %d", len(got), utf8.ValidString(got), maxHandle)
		}
		if other := text + "x"; Handle(other) == got {
			t.Fatalf("%q and one more letter have the same handle", text)
		}
	})
}
