package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A World is what a configuration may look at outside its own text. What is nil is refused with a problem.
type World struct {
	Read func(path string) ([]byte, error)         // included files and files of secrets
	Glob func(pattern string) ([]string, error)    // the files an include means, in order
	Env  func(name string) (value string, ok bool) // variables that hold secrets
}

// Machine is the World of this machine: its files and environment. A file longer than 4 MiB is not read to its end.
func Machine() World {
	return World{Read: readBounded, Glob: filepath.Glob, Env: os.LookupEnv}
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, errors.New("it is a folder")
	}
	return io.ReadAll(io.LimitReader(f, maxBytes+1))
}

// Load reads the configuration at path and all it includes. The Config is nil when a problem is more than a warning.
// Paths in the file (include, token_file and the like) are relative to the folder of the file that names them.
func Load(path string) (*Config, []Problem) {
	data, err := readBounded(path)
	if err != nil {
		return nil, []Problem{unreadable(path, err)}
	}
	return Parse(path, data, Machine())
}

func unreadable(path string, err error) Problem {
	return Problem{Place: Place{File: path}, Message: "the file cannot be read: " + cause(err), Hint: "name a file that exists and may be read"}
}

// Parse reads the configuration data; name is what it is called in problems, and where relative paths begin.
func Parse(name string, data []byte, w World) (*Config, []Problem) {
	r := &reader{world: w, secrets: map[string]Place{}, unread: map[string]bool{}}
	root, ok := r.gather(name, data)
	var c *Config
	if ok {
		c = r.config(root)
		r.check(c)
		r.doubt(c)
		r.dropEchoes()
	}
	sortProblems(r.problems, r.files)
	if r.more > 0 {
		r.problems = append(r.problems, Problem{Place: Place{File: name}, Message: fmt.Sprintf("%d more problems are not told", r.more), Hint: "mend these first", Warning: true})
	}
	if Failed(r.problems) {
		return nil, r.problems
	}
	return c, r.problems
}

// LoadDoors reads no more of the configuration at path, and of all it includes, than who may come in by which secret: Access and Sources
// are filled. Mistakes elsewhere in it do not matter, and a secret that cannot be read is "". The Config is nil, and the problems say
// why, where no file or no YAML is there.
func LoadDoors(path string) (*Config, []Problem) {
	data, err := readBounded(path)
	if err != nil {
		return nil, []Problem{unreadable(path, err)}
	}
	return parseDoors(path, data, Machine())
}

func parseDoors(name string, data []byte, w World) (*Config, []Problem) {
	r := &reader{world: w, secrets: map[string]Place{}, unread: map[string]bool{}}
	root, ok := r.gather(name, data)
	if !ok {
		sortProblems(r.problems, r.files)
		return nil, r.problems
	}
	s := r.section(root)
	return &Config{Access: r.access(s.sub("access")), Sources: each(s, "sources", r.source)}, nil
}

// maxFiles bounds what includes may bring in.
const maxFiles = 1000

// gather reads a file and those it includes, and lays them over each other: the included ones first, in the order of the
// list, as if they stood where include stands.
func (r *reader) gather(name string, data []byte) (*node, bool) {
	r.files = append(r.files, name)
	own, ok := document(name, data, r.report)
	if !ok {
		return nil, false
	}
	all := &node{kind: table, at: own.at}
	i := slices.IndexFunc(own.entries, func(e entry) bool { return e.key == "include" })
	if i >= 0 {
		r.loading = append(r.loading, filepath.Clean(name))
		for _, item := range r.elements(own.entries[i].value) {
			r.include(all, item, name)
		}
		r.loading = r.loading[:len(r.loading)-1]
		own.entries = slices.Delete(own.entries, i, i+1)
	}
	r.lay(all, own)
	return all, true
}

// include lays the files that item means over all.
func (r *reader) include(all, item *node, from string) {
	pattern, ok := r.text(item)
	if !ok {
		return
	}
	path := beside(from, pattern)
	if r.world.Read == nil || r.world.Glob == nil {
		r.problem(item, "nothing can be included here", "put everything in one file")
		return
	}
	found := []string{path}
	if strings.ContainsAny(pattern, "*?[") {
		var err error
		found, err = r.world.Glob(path)
		if err != nil {
			r.problem(item, fmt.Sprintf("%q is no pattern for files", pattern), "use * and ?, such as teams/*.yaml")
			return
		}
		if len(found) == 0 {
			r.warn(item.at, fmt.Sprintf("no file matches %q", pattern), "")
		}
	}
	for _, f := range found {
		clean := filepath.Clean(f)
		if slices.Contains(r.loading, clean) {
			r.problem(item, fmt.Sprintf("%s includes itself", strings.Join(append(slices.Clone(r.loading), clean), " -> ")), "remove one of these includes")
			continue
		}
		if slices.Contains(r.files, f) {
			r.problem(item, f+" is included already", "include it once")
			continue
		}
		if len(r.files) >= maxFiles {
			r.problem(item, fmt.Sprintf("more than %d files are included", maxFiles), "put several into one")
			return
		}
		data, err := r.world.Read(f)
		if err != nil {
			r.problem(item, fmt.Sprintf("%s cannot be read: %s", f, cause(err)), "name a file that exists and may be read")
			continue
		}
		r.bytes += len(data)
		if r.bytes > maxBytes {
			r.problem(item, fmt.Sprintf("the included files are longer than %d MiB together", maxBytes>>20), "leave out what is not needed")
			return
		}
		if sub, ok := r.gather(f, data); ok {
			r.lay(all, sub)
		}
	}
}

// lay puts the sections of from over those of all: lists append, maps merge, a name twice is a mistake.
func (r *reader) lay(all, from *node) {
	for _, e := range from.entries {
		i := slices.IndexFunc(all.entries, func(x entry) bool { return x.key == e.key })
		if i < 0 || strings.HasPrefix(e.key, "x-") {
			all.entries = append(all.entries, e)
			continue
		}
		r.join(all.entries[i].value, e.value, e)
	}
}

func (r *reader) join(to, from *node, e entry) {
	switch {
	case from.kind == empty:
	case to.kind == empty:
		*to = *from
	case to.kind == list && from.kind == list:
		to.items = append(to.items, from.items...)
	case to.kind == table && from.kind == table:
		for _, x := range from.entries {
			i := slices.IndexFunc(to.entries, func(y entry) bool { return y.key == x.key })
			switch {
			case i < 0:
				to.entries = append(to.entries, x)
			case to.entries[i].value.kind == list && x.value.kind == list && e.key == "access":
				r.join(to.entries[i].value, x.value, x)
			default:
				first := to.entries[i].at
				r.complain(x.at, fmt.Sprintf("%q is defined already, in %s:%d", x.key, first.File, first.Line), "keep one of them, or give this one another name")
			}
		}
	default:
		r.complain(e.at, fmt.Sprintf("%q is %s here and %s in %s:%d", e.key, from.kind, to.kind, to.at.File, to.at.Line), "write it alike in both files")
	}
}

// beside is path as the file from means it: relative to the folder it stands in.
func beside(from, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(from), path)
}

// cause is what went wrong with a file, without the name that the sentence has already.
func cause(err error) string {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Err.Error()
	}
	return err.Error()
}
