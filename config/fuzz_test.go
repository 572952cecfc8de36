package config

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func FuzzParse(f *testing.F) {
	for _, name := range []string{"testdata/contract.yaml", "testdata/thirty.yaml"} {
		f.Add([]byte(contents(f, name)))
	}
	f.Add(Starter("127.0.0.1:0", "http://127.0.0.1:0", StarterSecrets{"a", "b", "c", "d"}))
	for _, s := range []string{"", "a", "- - -", "<<: {a: b}", "<<: [*a, {b: c}]", "&a a: *a", "rules: &r [{rules: *r}]", "? {a: b} : c", "server: !!str 1", "a: |\n b\n", "include: [x, '*']", "{a}", "--- a\n---\nb: c"} {
		f.Add([]byte(s))
	}
	world := World{
		Read: func(string) ([]byte, error) { return nil, errors.New("no files here") },
		Glob: func(p string) ([]string, error) { return []string{p}, nil },
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		began := time.Now()
		c, ps := Parse("tocsin.yaml", data, world)
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%d bytes took %s", len(data), took)
		}
		if (c == nil) != Failed(ps) {
			t.Errorf("config %v with problems %q", c != nil, ps)
		}
		n := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + 1
		for _, p := range ps {
			if p.Message == "" || p.File == "" || p.Line < 0 || p.Line > n || p.Line > 0 && p.Column < 1 {
				t.Errorf("a problem without a proper place or message: %+v", p)
			}
		}
		if !slices.IsSortedFunc(ps, func(a, b Problem) int { return a.Line - b.Line }) {
			t.Errorf("problems out of order: %v", ps)
		}
		doors, why := parseDoors("tocsin.yaml", data, world)
		if doors == nil && len(why) == 0 || c != nil && doors == nil {
			t.Errorf("doors %v with problems %q, of a config %v", doors != nil, why, c != nil)
		}
		if c != nil {
			c.NotInForce()
		}
	})
}
