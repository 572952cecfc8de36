package main

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"
)

func TestTimesAreReadAsPeopleTypeThem(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 2, 1, 30, 0, 0, time.UTC)
	for typed, want := range map[string]string{
		"now":                        "2026-03-02T01:30:00Z",
		"+2h":                        "2026-03-02T03:30:00Z",
		"-30m":                       "2026-03-02T01:00:00Z",
		"08:00":                      "2026-03-02T07:00:00Z",
		"2026-03-29 08:00":           "2026-03-29T06:00:00Z",
		"2026-03-29":                 "2026-03-28T23:00:00Z",
		"2026-03-02T08:00:00-05:00":  "2026-03-02T13:00:00Z",
		"2026-03-02 08:00:00 +01:00": "2026-03-02T07:00:00Z",
		"":                           "wrong use",
		"25:00":                      "wrong use",
		"+2":                         "wrong use",
		"2026-02-30":                 "wrong use",
	} {
		t.Run(typed, func(t *testing.T) {
			at, err := parseTime(typed, now, berlin)
			got := at.UTC().Format(time.RFC3339)
			if errors.Is(err, errWrongUse) {
				got = "wrong use"
			}
			if got != want {
				t.Errorf("parseTime(%q) = %s, %v; want %s", typed, got, err, want)
			}
		})
	}
}

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"now", "+2h", "08:00", "2026-03-29 08:00", "2026-03-02T08:00:00Z", "2026-03-02 08:00:00 +01:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at, err := parseTime(s, time.Unix(0, 0), time.UTC)
		if err != nil && (!errors.Is(err, errWrongUse) || !at.IsZero()) {
			t.Errorf("%v with %v", at, err)
		}
	})
}

func FuzzStream(f *testing.F) {
	for _, s := range []string{`{"a":1}`, "{}\n{}\n", `[{},{}]{}`, `[`, `[]`, "", `{"a":`, `"x" 7 null`, "[[1]]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := newStream(strings.NewReader(text), true)
		for {
			batch, err := s.batch(3, 50)
			if err != nil {
				if !errors.Is(err, errWrongUse) {
					t.Errorf("%q: %v is no mistake of the file", text, err)
				}
				return
			}
			if len(batch) == 0 {
				return
			}
			for _, v := range batch {
				if !json.Valid(v) {
					t.Errorf("%q gave %q", text, v)
				}
			}
		}
	})
}

func TestAFileIsCutIntoBatchesInItsOrder(t *testing.T) {
	s := newStream(strings.NewReader(`1 [2,3] 4 "a long one that fills a batch by itself" 5`), true)
	var got []string
	for {
		batch, err := s.batch(3, 20)
		if err != nil {
			t.Fatal(err)
		}
		if len(batch) == 0 {
			break
		}
		b, _ := json.Marshal(batch)
		got = append(got, string(b))
	}
	want := `[1,2,3] | [4] | ["a long one that fills a batch by itself"] | [5]`
	if strings.Join(got, " | ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " | "), want)
	}
}

func TestAValueThatNeverEndsIsRefused(t *testing.T) {
	endless := io.MultiReader(strings.NewReader(`"`), endlessly('a'))
	_, err := newStream(endless, true).next()
	if !errors.Is(err, errWrongUse) || !strings.Contains(err.Error(), "a value of more than 8388608 bytes") {
		t.Errorf("got %v, want it refused for its length", err)
	}
}

type endlessly byte

func (e endlessly) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(e)
	}
	return len(p), nil
}

func FuzzClean(f *testing.F) {
	f.Add("a\x1b[31mb\n\u202ec")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range clean(s) {
			if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
				t.Errorf("%q keeps %U", s, r)
			}
		}
	})
}
