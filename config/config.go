package config

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A Config is one installation: everything the file says, with defaults where it says nothing. Maps are never nil; what is
// named in them is keyed by its name.
type Config struct {
	Server      Server
	Storage     Storage
	Access      Access
	Sources     map[string]Source
	People      map[string]Person
	Notify      Notify
	Calendars   map[string]Calendar
	Schedules   map[string]Schedule
	Teams       map[string]Team
	Escalations map[string]Escalation
	Defaults    Defaults
	Services    map[string]Service
	IsolateBy   []string // label names whose values never relate; none: all alerts are one domain
	IsolateAt   Place
	Enrich      []Enrich // in order
	Rules       []Rule   // in order; the first that matches decides
	Inhibit     []Inhibit
	Majors      []Major
	Channels    map[string][]string // sms, voice, email -> names of providers, first choice first; only channels that have one
	Providers   map[string]Provider
}

// Server says where tocsin listens and how it is reached.
type Server struct {
	Listen    string // host:port; default 127.0.0.1:8080; port 0 lets the system choose
	PublicURL string // absolute, without a slash at its end; default http:// and Listen
	At        Place
}

// Storage says where alerts and state are kept.
type Storage struct {
	Dir      string    // folder of the embedded journal and database, relative to where tocsin is started; default ./data
	Kafka    *Kafka    // storage.journal.kafka; nil: the embedded journal
	Postgres *Postgres // storage.state.postgres; nil: the embedded database
}

// Postgres is a state database outside.
type Postgres struct {
	DSN string // a secret
	At  Place
}

// Access says who else than people may use the API.
type Access struct {
	Tokens []Token
}

// A Token lets a program in.
type Token struct {
	Name  string
	Role  string // one of the roles of people; default responder
	Token string // a secret
	At    Place
}

// config reads all sections of the tree.
func (r *reader) config(root *node) *Config {
	s := r.section(root)
	kept := s.n.entries[:0:0]
	for _, e := range s.n.entries {
		if !strings.HasPrefix(e.key, "x-") { // for anchors
			kept = append(kept, e)
		}
	}
	s.n = &node{kind: table, at: root.at, entries: kept}
	s.asked = append(s.asked, "include")
	c := &Config{}
	c.Server = r.server(s.sub("server"))
	c.Storage = r.storage(s.sub("storage"))
	c.Access = r.access(s.sub("access"))
	c.Sources = each(s, "sources", r.source)
	c.Providers = each(s, "providers", r.provider)
	c.Channels = r.channels(s.sub("channels"), c.Providers)
	c.People = each(s, "people", r.person)
	c.Notify = r.notify(s.sub("notify"), c.Channels, len(c.Providers) > 0)
	c.Calendars = each(s, "calendars", r.calendar)
	c.Schedules = r.schedules(s, c.Calendars)
	c.Teams = each(s, "teams", r.team)
	c.Escalations = each(s, "escalations", r.escalation)
	c.Defaults = r.defaults(s.sub("defaults"))
	c.Services = each(s, "services", r.service)
	c.IsolateBy, c.IsolateAt = s.labelNames("isolate_by"), s.place("isolate_by")
	c.Enrich = r.enrich(s.list("enrich"), c.IsolateBy)
	c.Rules = r.rules(s.list("rules"), r.outermost(c.Defaults), "rules")
	c.Inhibit = r.inhibit(s.list("inhibit_rules"))
	c.Majors = r.majors(s.list("majors"), c.IsolateBy)
	s.done()
	for _, e := range s.n.entries {
		if !slices.Contains(s.asked, e.key) {
			r.unread[nearest(e.key, s.asked)] = true
		} else if e.value.kind != table && e.value.kind != list && e.value.kind != empty {
			r.unread[e.key] = true
		}
	}
	return c
}

// sub begins to read the map at key; where it is missing, an empty one at the same path.
func (s *section) sub(key string) *section {
	if n, ok := s.get(key); ok {
		return s.section(n)
	}
	at := s.n.at
	at.Path = join(at.Path, key)
	return s.section(&node{kind: table, at: at})
}

// each reads the named things at key.
func each[T any](s *section, key string, read func(name string, s *section) T) map[string]T {
	out := map[string]T{}
	for _, e := range s.named(key) {
		sub := s.section(e.value)
		if e.value.kind == empty {
			sub.n = &node{kind: table, at: e.at}
		}
		out[e.key] = read(e.key, sub)
		sub.done()
	}
	return out
}

const (
	defaultListen = "127.0.0.1:8080"
	defaultDir    = "./data"
)

func (r *reader) server(s *section) Server {
	defer s.done()
	out := Server{Listen: defaultListen, At: s.n.at}
	if n, ok := s.get("listen"); ok {
		if v, ok := r.filled(n); ok && r.address(n, v, 0, "8080") {
			out.Listen = v
		}
	}
	out.PublicURL = strings.TrimSuffix(s.url("public_url", ""), "/")
	if out.PublicURL == "" {
		out.PublicURL = "http://" + out.Listen
		host, port, err := net.SplitHostPort(out.Listen)
		ip := net.ParseIP(host)
		if err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
			out.PublicURL = "http://127.0.0.1:" + port
			s.warn(s.place("public_url"), "it is missing: links in messages and providers' callbacks would lead to "+out.PublicURL, "say how people and providers reach this server")
		}
	}
	return out
}

func (r *reader) storage(s *section) Storage {
	defer s.done()
	out := Storage{Dir: s.text("dir", defaultDir)}
	journal := s.sub("journal")
	if n, ok := journal.get("kafka"); ok {
		out.Kafka = r.kafka(n)
	}
	journal.done()
	state := s.sub("state")
	if n, ok := state.get("postgres"); ok {
		p := r.section(n)
		out.Postgres = &Postgres{At: n.at}
		out.Postgres.DSN, _ = p.secret("dsn", true)
		p.done()
	}
	state.done()
	return out
}

func (r *reader) access(s *section) Access {
	defer s.done()
	var out Access
	names := map[string]Place{}
	for _, n := range s.list("tokens") {
		t := r.section(n)
		tok := Token{Name: t.need("name", "say who uses it"), Role: t.word("role", "role", "responder", roles...), At: n.at}
		var at Place
		tok.Token, at = t.secret("token", true)
		r.unique(tok.Token, at, "token")
		if first, twice := names[tok.Name]; twice && tok.Name != "" {
			r.complain(t.place("name"), fmt.Sprintf("%q is the name of another token, in line %d", tok.Name, first.Line), "give each its own, so that the history says who it was")
		}
		names[tok.Name] = n.at
		t.done()
		out.Tokens = append(out.Tokens, tok)
	}
	return out
}

// address checks host:port; the port may not be under least. usual is the one to name in a hint.
func (r *reader) address(n *node, v string, least int, usual string) bool {
	host, port, err := net.SplitHostPort(v)
	if err != nil {
		r.problem(n, fmt.Sprintf("%q is no address", v), "host:port, such as 127.0.0.1:"+cmp.Or(digits(v), usual))
		return false
	}
	p, err := strconv.Atoi(port)
	if err != nil || p < least || p > 65535 {
		r.problem(n, fmt.Sprintf("%q is no port", port), fmt.Sprintf("%d to 65535", least))
		return false
	}
	if strings.ContainsAny(host, " /@") {
		r.problem(n, fmt.Sprintf("%q is no host", host), "a name or an IP address, without http://")
		return false
	}
	return true
}

// digits returns v without a leading colon if that leaves a number.
func digits(v string) string {
	v = strings.TrimPrefix(v, ":")
	if _, err := strconv.Atoi(v); err != nil {
		return ""
	}
	return v
}

// url returns the absolute http address at key.
func (s *section) url(key, without string) string {
	n, ok := s.get(key)
	if !ok {
		return without
	}
	v, ok := s.filled(n)
	if !ok {
		return without
	}
	u, err := url.Parse(v)
	switch {
	case err != nil:
		s.problem(n, fmt.Sprintf("%q is no URL", v), "such as https://tocsin.example.org")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		s.problem(n, fmt.Sprintf("%q is not absolute", v), "begin with https:// or http:// and a host")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		s.problem(n, "an address with a user, a query or a fragment cannot be extended", "scheme, host and path only")
	default:
		return v
	}
	return without
}
