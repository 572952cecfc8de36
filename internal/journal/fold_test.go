package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// A naiveFold remembers everything, and answers by the words of Fold's documentation.
type naiveFold struct {
	seen    map[uint64]map[uint64]bool
	highest map[uint64]uint64
	order   []uint64
}

func (f *naiveFold) Seen(writer, seq uint64) bool {
	if seq == 0 {
		return false
	}
	for i, w := range f.order {
		if w == writer {
			f.order = append(f.order[:i:i], f.order[i+1:]...)
			break
		}
	}
	f.order = append(f.order, writer)
	if f.seen[writer] == nil {
		f.seen[writer] = map[uint64]bool{}
	}
	if len(f.order) > 64 {
		delete(f.seen, f.order[0])
		delete(f.highest, f.order[0])
		f.order = f.order[1:]
	}
	was := f.seen[writer][seq] || seq+4096 <= f.highest[writer]
	f.seen[writer][seq] = true
	f.highest[writer] = max(f.highest[writer], seq)
	return was
}

func TestCopiesAreSeenAsADiaryOfEverythingWouldSeeThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		naive := &naiveFold{seen: map[uint64]map[uint64]bool{}, highest: map[uint64]uint64{}}
		fold := new(Fold)
		writers := rapid.Uint64Range(1, rapid.SampledFrom([]uint64{1, 3, 80}).Draw(t, "writers"))
		next := map[uint64]uint64{}
		for i, n := 0, rapid.IntRange(1, 400).Draw(t, "records"); i < n; i++ {
			w := writers.Draw(t, "writer")
			var seq uint64
			switch rapid.IntRange(0, 4).Draw(t, "how") {
			case 0:
				seq = next[w] + rapid.Uint64Range(0, 70).Draw(t, "ahead")
			case 1:
				seq = next[w] - min(next[w], rapid.Uint64Range(0, 9000).Draw(t, "back"))
			case 2:
				seq = next[w] + rapid.SampledFrom([]uint64{4094, 4095, 4096, 4097, 10_000}).Draw(t, "jump")
			default:
				seq = next[w] + 1
			}
			next[w] = max(next[w], seq)
			if got, want := fold.Seen(w, seq), naive.Seen(w, seq); got != want {
				t.Fatalf("record %d: Seen(%d, %d) = %t, want %t", i, w, seq, got, want)
			}
			if rapid.IntRange(0, 30).Draw(t, "save") == 0 {
				fold = reread(t, fold)
			}
		}
		if diff := cmp.Diff(fold, reread(t, fold), cmp.AllowUnexported(Fold{}, foldWriter{})); diff != "" {
			t.Fatalf("-kept +read back\n%s", diff)
		}
	})
}

func reread(t *rapid.T, f *Fold) *Fold {
	b := f.Append([]byte("x"))
	got, err := ParseFold(b[1:])
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestAFoldWithoutHolesTakesAFewBytes(t *testing.T) {
	var f Fold
	for seq := range uint64(100_000) {
		for w := range uint64(3) {
			f.Seen(w+1, seq+1)
		}
	}
	if n := len(f.Append(nil)); n > 50 {
		t.Errorf("three writers take %d bytes, want at most 50", n)
	}
}

func TestAFoldIsBoundedHoweverItIsUsed(t *testing.T) {
	var f Fold
	for w := range uint64(1000) {
		for seq := uint64(1); seq < 9000; seq += 2 {
			f.Seen(w, seq)
		}
	}
	if n := len(f.Append(nil)); n > foldWriters*(foldWindow+20) {
		t.Errorf("a thousand writers take %d bytes", n)
	}
}

func TestMalformedFoldsAreRefused(t *testing.T) {
	writer := func(id byte, rest ...byte) []byte { return append([]byte{id, 0, 0, 0, 0, 0, 0, 0}, rest...) }
	fold := func(n byte, writers ...[]byte) []byte { return append([]byte{1, n}, bytes.Join(writers, nil)...) }
	for name, b := range map[string][]byte{
		"another version":                      {2, 0},
		"nothing but a version":                {1},
		"too many writers":                     fold(65),
		"a writer that is cut":                 fold(1, []byte{1, 2, 3}),
		"a writer that wrote nothing":          fold(1, writer(1, 0)),
		"a run over the window":                fold(1, writer(1, 3, 4)),
		"a run of nothing":                     fold(1, writer(1, 3, 0)),
		"runs that are cut":                    fold(1, writer(1, 3, 1)),
		"a writer twice":                       fold(2, writer(1, 1, 1), writer(1, 1, 1)),
		"something behind the end":             append(fold(1, writer(1, 1, 1)), 0),
		"a number longer than a number can be": fold(1, writer(1, bytes.Repeat([]byte{0xff}, 11)...)),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseFold(b); !errors.Is(err, ErrMalformed) {
				t.Errorf("err = %v, want ErrMalformed", err)
			}
		})
	}
	if f, err := ParseFold(nil); err != nil || f.Seen(1, 1) {
		t.Errorf("nothing is not a fold that knows nothing: %v", err)
	}
}

func FuzzParseFold(f *testing.F) {
	var a Fold
	for seq := uint64(1); seq < 5000; seq += 3 {
		a.Seen(seq%5, seq)
	}
	f.Add(a.Append(nil))
	f.Add([]byte{1, 0})
	f.Add(binary.AppendUvarint([]byte{1, 1, 1, 0, 0, 0, 0, 0, 0, 0}, 1<<63))
	f.Fuzz(func(t *testing.T, b []byte) {
		fold, err := ParseFold(b)
		if err != nil {
			return
		}
		again, err := ParseFold(fold.Append(nil))
		if err != nil {
			t.Fatalf("what was read is not read back: %v", err)
		}
		if diff := cmp.Diff(fold, again, cmp.AllowUnexported(Fold{}, foldWriter{})); diff != "" {
			t.Fatalf("-first +second\n%s", diff)
		}
	})
}

func BenchmarkSeen(b *testing.B) {
	var f Fold
	seq := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		seq++
		f.Seen(seq%3, seq/3+1)
	}
}
