package store

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tocsin"
)

func TestTouchesComeBackAsTheyWerePacked(t *testing.T) {
	instant := rapid.Custom(func(t *rapid.T) time.Time {
		return timeOf(rapid.Int64Range(0, 4_000_000_000_000_000).Draw(t, "µs"))
	})
	rapid.Check(t, func(t *rapid.T) {
		chunk := rapid.Int64Range(0, 1<<50).Draw(t, "chunk")
		ids := rapid.SliceOfNDistinct(rapid.Int64Range(0, 1<<ChunkBits-1), 1, 30, rapid.ID).Draw(t, "ids")
		slices.Sort(ids)
		var want []Touch
		for _, id := range ids {
			want = append(want, Touch{
				Alert: chunk<<ChunkBits + id, LastAt: instant.Draw(t, "last"), EndsAt: instant.Draw(t, "ends"),
				Count: rapid.Int64Range(0, 1<<50).Draw(t, "count"), AsOf: rapid.Int64Range(0, 1<<50).Draw(t, "as of"),
			})
		}
		got, err := unpackTouches(chunk, packTouches(chunk, want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("touches:\n got %+v, %v\nwant %+v", got, err, want)
		}
	})
}

func FuzzUnpackTouches(f *testing.F) {
	at := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	f.Add(int64(3), packTouches(3, []Touch{{Alert: 3 << ChunkBits, LastAt: at, EndsAt: at.Add(time.Hour), Count: 2, AsOf: 7}, {Alert: 3<<ChunkBits + 9, LastAt: at, Count: 1, AsOf: 6}}))
	f.Add(int64(0), []byte{})
	f.Add(int64(0), []byte{2, 0})
	f.Add(int64(0), []byte{1, 0, 0})
	f.Fuzz(func(t *testing.T, chunk int64, b []byte) {
		touches, err := unpackTouches(chunk, b)
		if err != nil {
			return
		}
		again, err := unpackTouches(chunk, packTouches(chunk, touches))
		if err != nil || !reflect.DeepEqual(again, touches) {
			t.Errorf("read %+v, and written and read again %+v, %v", touches, again, err)
		}
	})
}

func FuzzParseLabels(f *testing.F) {
	for _, text := range []string{`{}`, ``, `{"a":"b"}`, `{"a":"b","c":"d"}`, `{"b":"1","a":"2"}`, `{"a":""}`, `{"a":"\u000a\""}`, `{"a":"ü"}`, `{"a" : "b"}`, `[]`, `{"a":"b"`, `{"a":"b","a":"c"}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ls, err := parseLabels(text, nil)
		if err != nil || ls == nil {
			return
		}
		again, err := parseLabels(string(appendLabels(nil, ls)), asRead)
		if err != nil || len(ls) > 0 && !reflect.DeepEqual(again, ls) {
			t.Errorf("read %v, and written and read again %v, %v", ls, again, err)
		}
	})
}

func TestLabelsAreWrittenAsTheirJSONSays(t *testing.T) {
	ls := tocsin.NewLabels(map[string]string{"a": "plain", "b": "line\nquote\"back\\slash", "c": "äöü €", "d": "<&>"})
	want := `{"a":"plain","b":"line\u000aquote\"back\\slash","c":"äöü €","d":"<&>"}`
	if got := string(appendLabels(nil, ls)); got != want {
		t.Errorf("labels = %s, want %s", got, want)
	}
	var again tocsin.Labels
	if err := again.UnmarshalJSON([]byte(want)); err != nil || !reflect.DeepEqual(again, ls) {
		t.Errorf("encoding/json reads %v, %v, want %v", again, err, ls)
	}
}
