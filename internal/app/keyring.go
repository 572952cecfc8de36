package app

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"tocsin/config"
)

// A Keyring holds the secrets of one configuration: what a command shows to a server that runs on it. The zero value has none.
type Keyring struct {
	access  config.Access
	sources map[string]config.Source
}

// ReadKeyring reads the secrets of the configuration at path, whatever else may be wrong with it; there is false where there is no such
// file.
func ReadKeyring(path string) (k Keyring, there bool, err error) {
	_, err = os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return k, false, nil
	}
	c, problems := config.LoadDoors(path)
	if c == nil {
		return k, false, fmt.Errorf("read the tokens: %s", problems[0])
	}
	return Keyring{c.Access, c.Sources}, true, nil
}

// Robot returns the first token of the API; "" where there is none.
func (k Keyring) Robot() string {
	for _, t := range k.access.Tokens {
		if t.Token != "" {
			return t.Token
		}
	}
	return ""
}

// Sender returns the secret of the source called name, or where that is "" of the first one of this kind by name; "" where there is none.
func (k Keyring) Sender(kind, name string) string {
	for _, n := range slices.Sorted(maps.Keys(k.sources)) {
		s := k.sources[n]
		if s.Kind != kind || name != "" && n != name {
			continue
		}
		if len(s.Keys) > 0 {
			return s.Keys[0].Key
		}
		return s.Token
	}
	return ""
}
