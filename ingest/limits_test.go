package ingest

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"tocsin"
)

func TestTimesAreReadAsSendersWriteThem(t *testing.T) {
	want := time.Date(2026, 3, 2, 8, 42, 58, 315e6, time.UTC)
	for _, s := range []string{
		"2026-03-02T08:42:58.315Z", "2026-03-02T09:42:58.315+01:00", "2026-03-02T08:42:58.315+0000", "2026-03-02 08:42:58.315Z",
		"2026-03-02 08:42:58.315", "2026-03-02T08:42:58.315", "2026-03-02 03:42:58.315-0500",
	} {
		if got, ok := Time(s); !ok || got != want {
			t.Errorf("time %s = %s, %t, want %s", s, got, ok, want)
		}
	}
	for _, s := range []string{"", "yesterday", "2026-03-02", "2026-02-30T00:00:00Z", "2026-03-02T25:00:00Z", "1772440978", "2026-03-02T08:42:58.315Zjunk"} {
		if got, ok := Time(s); ok {
			t.Errorf("time %q = %s", s, got)
		}
	}
	if got, ok := Time("0001-01-01T00:00:00Z"); !ok || !got.IsZero() {
		t.Errorf("the year 1 = %s, want no time", got)
	}
}

func TestALineForPeople(t *testing.T) {
	for s, want := range map[string]string{
		"":                        "",
		" a line ":                "a line",
		"\n\n first\nsecond":      "first",
		"first\r\nsecond":         "first",
		strings.Repeat("ä", 1000): strings.Repeat("ä", 510) + "…",
		strings.Repeat("🧀", 256):  strings.Repeat("🧀", 256),
	} {
		if got := Line(s); got != want {
			t.Errorf("line of %.20q = %.20q (%d bytes), want %.20q", s, got, len(got), want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		n := rapid.IntRange(-1, 20).Draw(t, "n")
		if got := Cut(s, n); len(got) > max(n, 0) || !utf8.ValidString(got) {
			t.Fatalf("cut to %d = %q", n, got)
		}
	})
}

func TestTwoLabelSetsNeverHaveOneKey(t *testing.T) {
	part := rapid.StringOfN(rapid.SampledFrom([]rune("ab\",=\\{}\n\x01é")), 1, 4, -1)
	set := rapid.Custom(func(t *rapid.T) tocsin.Labels {
		return tocsin.NewLabels(rapid.MapOfN(part, part, 0, 3).Draw(t, "set"))
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := set.Draw(t, "a"), set.Draw(t, "b")
		var m Message
		keyA, keyB := m.LabelKey(a, false), m.LabelKey(b, false)
		if (keyA == keyB) != (a.String() == b.String() && len(a) == len(b) && same(a, b)) {
			t.Fatalf("%v has key %s, %v has key %s", a, keyA, b, keyB)
		}
	})
}

func TestAValueCannotPretendToBeTwoLabels(t *testing.T) {
	var m Message
	one := m.LabelKey(tocsin.Labels{{Name: "a", Value: `x",b="y`}}, false)
	two := m.LabelKey(tocsin.Labels{{Name: "a", Value: "x"}, {Name: "b", Value: "y"}}, false)
	named := m.LabelKey(tocsin.Labels{{Name: `a="x",b`, Value: "y"}}, true)
	if one == two || named == two || one == named {
		t.Errorf("keys %s, %s and %s, want three", one, two, named)
	}
}

func same(a, b tocsin.Labels) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestAPlainSetHasTheSameKeyWhetherItIsKnownToBePlainOrNot(t *testing.T) {
	ls := tocsin.Labels{{Name: "alertname", Value: "Disk full"}, {Name: "käse", Value: "ü"}}
	var m Message
	const want = `{alertname="Disk full","käse"="ü"}`
	if plain, careful := m.LabelKey(ls, true), m.LabelKey(ls, false); plain != want || careful != want {
		t.Errorf("key %s and %s, want %s", plain, careful, want)
	}
}

func TestTheConfigurationsLabelsWin(t *testing.T) {
	m := Message{Labels: tocsin.Labels{{Name: "b", Value: "ours"}, {Name: "d", Value: "ours"}}}
	got := m.Merge(tocsin.Labels{{Name: "a", Value: "theirs"}, {Name: "b", Value: "theirs"}, {Name: "c", Value: "theirs"}})
	if want := `{a="theirs",b="ours",c="theirs",d="ours"}`; got.String() != want {
		t.Errorf("labels %s, want %s", got, want)
	}
	if got := m.Merge(nil).String(); got != `{b="ours",d="ours"}` {
		t.Errorf("labels of nothing %s", got)
	}
}
