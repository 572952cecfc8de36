package config

import "fmt"

// NotInForce names what the file says and this version reads, but does not act on yet: one sentence each, with the place of
// the first of its kind. It is told at start, so that nothing is silently without effect.
func (c *Config) NotInForce() []string {
	var out []string
	say := func(at Place, more int, what string) {
		path := at.Path
		if more > 0 {
			path += fmt.Sprintf(" and %d more", more)
		}
		out = append(out, fmt.Sprintf("%s (%s:%d) is not in force yet: %s", path, at.File, at.Line, what))
	}
	for _, name := range keysOf(c.Sources) {
		switch s := c.Sources[name]; s.Kind {
		case KindOpsgenie, KindGrafana:
			say(s.At, 0, "what a source of kind "+s.Kind+" sends is refused")
		case KindHeartbeat:
			say(s.At, 0, "nobody is told when this heartbeat stays away")
		}
	}
	if names := keysOf(c.Calendars); len(names) > 0 {
		say(c.Calendars[names[0]].At, len(names)-1, "calendars decide nothing")
	}
	var edges []Place
	for _, name := range keysOf(c.Services) {
		if s := c.Services[name]; len(s.DependsOn) > 0 {
			edges = append(edges, s.dependsAt)
		}
	}
	if len(edges) > 0 {
		say(edges[0], len(edges)-1, "alerts are not related by what depends on what")
	}
	if len(c.Inhibit) > 0 {
		say(c.Inhibit[0].At, len(c.Inhibit)-1, "no alert mutes another")
	}
	return out
}
