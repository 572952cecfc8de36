package config

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden parts of testdata")

// A mistake is one block of testdata/mistakes.txt.
type mistake struct {
	sentence, out, in string
	said              []string
}

func readMistakes(t *testing.T) (head string, all []mistake) {
	t.Helper()
	data, err := os.ReadFile("testdata/mistakes.txt")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(strings.TrimRight(string(data), "\n"), "\n\n")
	for _, b := range blocks[1:] {
		var m mistake
		for i, line := range strings.Split(b, "\n") {
			switch {
			case i == 0:
				m.sentence = line
			case line[0] == '-':
				m.out = strings.NewReplacer(`\n`, "\n", `\t`, "\t").Replace(line[1:])
			case line[0] == '+':
				m.in = strings.NewReplacer(`\n`, "\n", `\t`, "\t").Replace(line[1:])
			default:
				m.said = append(m.said, strings.TrimPrefix(line, "> "))
			}
		}
		all = append(all, m)
	}
	return blocks[0], all
}

func TestEveryMistakeIsToldWithItsPlaceAndCure(t *testing.T) {
	contract := contents(t, "testdata/contract.yaml")
	head, all := readMistakes(t)
	if len(all) < 60 {
		t.Fatalf("%d mistakes, want at least 60", len(all))
	}
	var golden strings.Builder
	golden.WriteString(head)
	for _, m := range all {
		t.Run(m.sentence, func(t *testing.T) {
			if n := strings.Count(contract, m.out); n != 1 {
				t.Fatalf("%q stands %d times in the contract, want once", m.out, n)
			}
			_, ps := Parse("testdata/tocsin.yaml", []byte(strings.Replace(contract, m.out, m.in, 1)), Machine())
			got := lines(ps)
			flat := strings.NewReplacer("\n", `\n`, "\t", `\t`)
			golden.WriteString("\n\n" + m.sentence + "\n-" + flat.Replace(m.out) + "\n+" + flat.Replace(m.in))
			for _, l := range got {
				golden.WriteString("\n> " + l)
			}
			if want := strings.Join(m.said, "\n"); strings.Join(got, "\n") != want && !*update {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
			}
		})
	}
	if *update {
		rewrite(t, "testdata/mistakes.txt", golden.String()+"\n")
	}
}

func lines(ps []Problem) []string {
	var out []string
	for _, p := range ps {
		p.File = strings.TrimPrefix(p.File, "testdata/")
		out = append(out, p.String())
	}
	return out
}

func contents(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func rewrite(t *testing.T, path, text string) {
	t.Helper()
	err := os.WriteFile(path, []byte(text), 0o644)
	if err != nil {
		t.Fatal(err)
	}
}
