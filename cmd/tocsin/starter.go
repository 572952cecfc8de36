package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/goccy/go-yaml"
)

// starterPath is where "tocsin serve" without a configuration keeps its set-up.
var starterPath = filepath.Join("data", "starter.yaml")

const maxStarter = 1 << 20 // bytes

// A starter is what the commands need of the starter set-up, which serve wrote itself: the secrets that stand in it. What it
// means otherwise is the server's affair.
type starter struct {
	Access struct {
		Tokens []struct {
			Token string `yaml:"token"`
		} `yaml:"tokens"`
	} `yaml:"access"`
	Sources map[string]starterSource `yaml:"sources"`
}

type starterSource struct {
	Kind  string `yaml:"kind"`
	Token string `yaml:"token"`
	Keys  []struct {
		Key string `yaml:"key"`
	} `yaml:"keys"`
}

// readStarter reads the set-up at path; false where there is none.
func readStarter(path string) (s starter, there bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, false, nil
	}
	if err != nil {
		return s, false, fmt.Errorf("starter set-up: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxStarter))
	if err != nil {
		return s, false, fmt.Errorf("starter set-up: %w", err)
	}
	err = yaml.Unmarshal(b, &s)
	if err != nil {
		return s, false, fmt.Errorf("starter set-up %s: %w", path, err)
	}
	return s, true, nil
}

// robot returns the first token of the API.
func (s starter) robot() string {
	for _, t := range s.Access.Tokens {
		if t.Token != "" {
			return t.Token
		}
	}
	return ""
}

// sender returns the secret of the source called name, or where that is "" of the first one of this kind by name.
func (s starter) sender(kind, name string) string {
	var names []string
	for n, src := range s.Sources {
		if src.Kind == kind && (name == "" || n == name) {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return ""
	}
	src := s.Sources[slices.Min(names)]
	if len(src.Keys) > 0 {
		return src.Keys[0].Key
	}
	return src.Token
}
