package config

import (
	"fmt"
	"strings"
)

// secret returns the secret key, which stands in the file as key, in a file of its own as key_file, or in the environment
// as key_env; and where it stands. Messages never say it.
func (s *section) secret(key string, needed bool) (string, Place) {
	var found []string
	var at *node
	for _, suffix := range []string{"", "_file", "_env"} {
		if n, ok := s.get(key + suffix); ok {
			found = append(found, key+suffix)
			at = n
		} else if n != nil {
			s.problem(n, "nothing stands here", "write it, or remove the key")
			needed = false
		}
	}
	switch {
	case len(found) == 0 && needed:
		s.missing(key, fmt.Sprintf("write %s, %s_file or %s_env", key, key, key))
		return "", s.place(key)
	case len(found) == 0:
		return "", s.place(key)
	case len(found) > 1:
		s.problem(at, fmt.Sprintf("%s stand side by side", strings.Join(found, " and ")), "keep one of them")
		return "", at.at
	}
	v, ok := s.filled(at)
	if !ok {
		return "", at.at
	}
	switch strings.TrimPrefix(found[0], key) {
	case "_file":
		v = s.secretFile(at, v)
	case "_env":
		v = s.secretEnv(at, v)
	}
	return v, at.at
}

func (r *reader) secretFile(n *node, path string) string {
	if r.world.Read == nil {
		r.problem(n, "no file can be read here", "write the secret itself")
		return ""
	}
	data, err := r.world.Read(beside(n.at.File, path))
	if err != nil {
		r.problem(n, fmt.Sprintf("%s cannot be read: %s", path, cause(err)), "put the secret there, readable for tocsin's user")
		return ""
	}
	v := strings.TrimSpace(string(data))
	switch {
	case v == "":
		r.problem(n, path+" is empty", "put the secret there")
	case len(v) > 1<<16:
		r.problem(n, path+" is too long for a secret", "one line with nothing but the secret")
		return ""
	}
	return v
}

func (r *reader) secretEnv(n *node, name string) string {
	v, ok := "", false
	if r.world.Env != nil {
		v, ok = r.world.Env(name)
	}
	v = strings.TrimSpace(v)
	if !ok || v == "" {
		r.problem(n, fmt.Sprintf("variable %s is not set", clip(name)), "set it where tocsin is started")
	}
	return v
}

// unique complains if somebody else has the secret v already: a sender is known by it.
func (r *reader) unique(v string, at Place, what string) {
	if v == "" {
		return
	}
	if first, twice := r.secrets[v]; twice {
		r.complain(at, fmt.Sprintf("this %s is the same as %s in line %d", what, first.Path, first.Line), "give each its own, so that the sender is known by it")
		return
	}
	r.secrets[v] = at
}
