package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// module is the module's path: every package of the tree begins with it.
const module = "tocsin"

// A layer is one line of the picture in docs/architecture.md: a folder with all that is below it.
type layer struct {
	path string // below the module; "" is the root package alone; dir/* makes each folder below dir a part of its own
	rank int    // a package imports only lower ranks, and its own part
}

// layers is the picture, from the words up to the command; the first line that fits a folder is its place. A new folder gets
// its line here, with a thought about its rank.
var layers = []layer{
	{"", 0},
	{"ingest/*", 3}, // front doors
	{"ingest", 1},
	{"correlate", 1},
	{"paging/gateway", 2}, // what several ways out share
	{"paging/letter", 2},
	{"paging/providertest", 4}, // the providers, for tests
	{"paging/*", 3},            // ways out
	{"paging", 1},
	{"schedules", 1},
	{"internal/journal", 3},
	{"internal/store", 3},
	{"internal/migrate", 4},
	{"internal/api", 4},
	{"internal/feed", 4},
	{"config", 4},
	{"internal/app", 5},
	{"internal/client", 1}, // of our API, for commands: it knows nothing of ours
	{"internal/bench", 6},  // drives the product from outside, as a command does
	{"parts/partstest", 6}, // only tests use it
	{"cmd/*", 6},
}

// A pkg is what `go list -json` says of one package.
type pkg struct {
	ImportPath string
	Name       string
	Imports    []string // of the package itself; what its tests need is no part of the picture
	Deps       []string // everything that is linked with it
}

func TestImportsPointOneWay(t *testing.T) {
	for _, p := range listed(t) {
		for _, to := range p.Imports {
			if err := mayImport(p.ImportPath, to); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestEveryPackageHasAPlaceInThePicture(t *testing.T) {
	for _, p := range listed(t) {
		if _, _, ok := place(p.ImportPath); !ok {
			t.Errorf("%s stands in no layer: put it where the picture has room, or give it a line in layers", p.ImportPath)
		}
	}
}

func TestNoTestHelperIsLinkedIntoABinary(t *testing.T) {
	for _, p := range listed(t) {
		if p.Name != "main" {
			continue
		}
		if i := slices.IndexFunc(p.Deps, isTestHelper); i >= 0 {
			t.Errorf("%s links %s, which is for tests only", p.ImportPath, p.Deps[i])
		}
	}
}

func TestThePictureAllowsAndForbids(t *testing.T) {
	for name, tc := range map[string]struct{ from, to, want string }{
		"the command builds the app":                 {"tocsin/cmd/tocsin", "tocsin/internal/app", ""},
		"the app reads the config":                   {"tocsin/internal/app", "tocsin/config", ""},
		"the app joins a door":                       {"tocsin/internal/app", "tocsin/ingest/pagerduty", ""},
		"a door knows ingest":                        {"tocsin/ingest/pagerduty", "tocsin/ingest", ""},
		"a way out uses what ways out share":         {"tocsin/paging/twilio", "tocsin/paging/gateway", ""},
		"an engine knows the store":                  {"tocsin/internal/store/sqlite", "tocsin/internal/store", ""},
		"the store speaks in the words":              {"tocsin/internal/store", "tocsin", ""},
		"what is not ours is not judged here":        {"tocsin", "time", ""},
		"a name that only begins like ours":          {"tocsin", "tocsinets/x", ""},
		"a suite knows what it tests":                {"tocsin/internal/store/storetest", "tocsin/internal/store", ""},
		"the words know nobody":                      {"tocsin", "tocsin/ingest", "tocsin imports tocsin/ingest: the picture in docs/architecture.md points the other way"},
		"the middle packages do not know each other": {"tocsin/correlate", "tocsin/paging", "tocsin/correlate imports tocsin/paging: they are siblings; ask for what is needed in a small interface, and join them in internal/app"},
		"doors do not know each other":               {"tocsin/ingest/pagerduty", "tocsin/ingest/webhook", "tocsin/ingest/pagerduty imports tocsin/ingest/webhook: they are siblings; ask for what is needed in a small interface, and join them in internal/app"},
		"what ways out share knows none of them":     {"tocsin/paging/gateway", "tocsin/paging/twilio", "tocsin/paging/gateway imports tocsin/paging/twilio: the picture in docs/architecture.md points the other way"},
		"the journal does not know the store":        {"tocsin/internal/journal/disk", "tocsin/internal/store", "tocsin/internal/journal/disk imports tocsin/internal/store: they are siblings; ask for what is needed in a small interface, and join them in internal/app"},
		"paging does not know its senders":           {"tocsin/paging", "tocsin/paging/twilio", "tocsin/paging imports tocsin/paging/twilio: the picture in docs/architecture.md points the other way"},
		"the api does not build the app":             {"tocsin/internal/api", "tocsin/internal/app", "tocsin/internal/api imports tocsin/internal/app: the picture in docs/architecture.md points the other way"},
		"the api does not read the config":           {"tocsin/internal/api", "tocsin/config", "tocsin/internal/api imports tocsin/config: only internal/app reads config"},
		"nor does the command":                       {"tocsin/cmd/tocsin", "tocsin/config", "tocsin/cmd/tocsin imports tocsin/config: only internal/app reads config"},
		"the product knows no test helper":           {"tocsin/internal/app", "tocsin/internal/store/storetest", "tocsin/internal/app imports tocsin/internal/store/storetest: it is for tests only"},
		"a package without a place imports nothing":  {"tocsin/util", "tocsin", "tocsin/util imports tocsin: tocsin/util stands in no layer"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := mayImport(tc.from, tc.to); err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("mayImport(%s, %s)\n got %q\nwant %q", tc.from, tc.to, got, tc.want)
			}
		})
	}
}

// listed returns every package of the tree.
func listed(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Name,Imports,Deps", module+"/...").Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("go list: %v\n%s", err, exit.Stderr)
	}
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := dec.Decode(&p)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("go list printed what is no package: %v", err)
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) < 3 {
		t.Fatalf("go list found %d packages: the picture was looked at in the wrong place", len(pkgs))
	}
	return pkgs
}

// mayImport says why package from must not import package to, or nothing.
func mayImport(from, to string) error {
	if !ours(to) {
		return nil
	}
	lower, part, ok := place(from)
	if !ok {
		return fmt.Errorf("%s imports %s: %s stands in no layer", from, to, from)
	}
	rank, other, ok := place(to)
	switch {
	case !ok:
		return fmt.Errorf("%s imports %s: %s stands in no layer", from, to, to)
	case isTestHelper(to) && !isTestHelper(from):
		return fmt.Errorf("%s imports %s: it is for tests only", from, to)
	case other == "config" && part != "config" && part != "internal/app":
		return fmt.Errorf("%s imports %s: only internal/app reads config", from, to)
	case part == other || rank < lower:
		return nil
	case rank == lower:
		return fmt.Errorf("%s imports %s: they are siblings; ask for what is needed in a small interface, and join them in internal/app", from, to)
	}
	return fmt.Errorf("%s imports %s: the picture in docs/architecture.md points the other way", from, to)
}

// place returns the rank of a package and the part of the tree that it belongs to; inside one part imports are free.
func place(path string) (rank int, part string, ok bool) {
	dir := strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
	for _, l := range layers {
		parent, apart := strings.CutSuffix(l.path, "*")
		below, inside := strings.CutPrefix(dir, parent)
		if apart && inside {
			folder, _, _ := strings.Cut(below, "/")
			return l.rank, parent + folder, true
		}
		if dir == l.path || l.path != "" && strings.HasPrefix(dir, l.path+"/") {
			return l.rank, l.path, true
		}
	}
	return 0, "", false
}

func ours(path string) bool { return path == module || strings.HasPrefix(path, module+"/") }

// isTestHelper reports whether a package of ours is one that only tests may use: its name ends in test.
func isTestHelper(path string) bool { return ours(path) && strings.HasSuffix(path, "test") }
