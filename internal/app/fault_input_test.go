package app

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

// A member is one name of a JSON object with its value, both as they stand in the text.
type member struct{ name, value string }

func object(members ...member) string {
	parts := make([]string, len(members))
	for i, m := range members {
		parts[i] = `"` + m.name + `":` + m.value
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// A doorway is one way in, as a sender sees it.
type doorway struct {
	path, token string
	took        int                                   // the status of what was taken
	alert       []member                              // a good alert
	inner       []member                              // a good one's inner object; nil where it has none
	text        string                                // the member that makes an alert another one: of inner, where there is one
	body        func(alert, inner []member) string    // the body that holds them
	put         func(value string) (alert, in member) // a member for whatever value, of the alert or of inner
}

// doorways are those of the contract's file.
func doorways() map[string]doorway {
	return map[string]doorway{
		"alertmanager": {
			path: "/api/v2/alerts", token: promToken, took: http.StatusOK, text: "instance",
			alert: []member{{"annotations", `{"summary":"s"}`}, {"startsAt", `"2026-03-02T10:00:00Z"`}, {"endsAt", `"2099-03-02T10:00:00Z"`}, {"generatorURL", `"http://one.example.org"`}},
			inner: []member{{"alertname", `"Lag"`}, {"instance", `"i"`}, {"service", `"checkout"`}},
			body: func(alert, inner []member) string {
				return "[" + object(append(slices.Clone(alert), member{"labels", object(inner...)})...) + "]"
			},
			put: func(v string) (member, member) { return member{"status", v}, member{"status", v} },
		},
		"pagerduty": {
			path: "/v2/enqueue", took: http.StatusAccepted, text: "dedup_key",
			alert: []member{{"routing_key", `"` + pdKey + `"`}, {"event_action", `"trigger"`}, {"dedup_key", `"d"`}, {"client", `"c"`}, {"client_url", `"http://one.example.org"`}, {"links", "[]"}, {"images", "[]"}},
			inner: []member{{"summary", `"s"`}, {"source", `"db-1"`}, {"severity", `"critical"`}, {"timestamp", `"2026-03-02T10:00:00Z"`}, {"component", `"c"`}, {"group", `"g"`}, {"class", `"c"`}, {"custom_details", "{}"}},
			body: func(alert, inner []member) string {
				return object(append(slices.Clone(alert), member{"payload", object(inner...)})...)
			},
			put: func(v string) (member, member) { return member{"more", v}, member{"custom_details", `{"n":` + v + `}`} },
		},
		"json": {
			path: "/in/scripts", token: "scripts-secret", took: http.StatusAccepted, text: "check",
			alert: []member{{"check", `"disk"`}, {"host", `"db-1"`}, {"state", `"bad"`}, {"level", `"warning"`}, {"message", `"full"`}, {"app", `"shop"`}},
			body:  func(alert, _ []member) string { return object(alert...) },
			put:   func(v string) (member, member) { return member{"more", v}, member{"more", v} },
		},
	}
}

// good is a body that the door takes.
func (d doorway) good() string { return d.body(d.alert, d.inner) }

// with is a good body with one value more, in its outer object, or in its inner one.
func (d doorway) with(value string, inner bool) string {
	outer, in := d.put(value)
	if inner && d.inner != nil {
		return d.body(d.alert, append(lacking(d.inner, in.name), in))
	}
	return d.body(append(lacking(d.alert, outer.name), outer), d.inner)
}

func lacking(members []member, name string) []member {
	return slices.DeleteFunc(slices.Clone(members), func(m member) bool { return m.name == name })
}

// knock posts a body without a network between, which is what it is about here.
func (r *rig) knock(d doorway, query, body string) (status int, answer string) {
	req := httptest.NewRequest(http.MethodPost, d.path+query, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	if d.token != "" {
		req.Header.Set("Authorization", "Bearer "+d.token)
	}
	w := httptest.NewRecorder()
	r.a.api.Handler().ServeHTTP(w, req)
	return w.Code, w.Body.String()
}

// utf16Of writes text in UTF-16.
func utf16Of(text string, order binary.AppendByteOrder) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, u)
	}
	return string(b)
}

// notJSON are bodies that no door may take.
func notJSON(d doorway) map[string]string {
	const many = 100_000
	good := d.good()
	out := map[string]string{
		"nothing": "", "blanks": " \t\r\n", "null": "null", "a text": `"x"`, "a number": "1", "true": "true",
		"lists without an end": strings.Repeat("[", many), "objects without an end": strings.Repeat(`{"":`, many),
		"deep lists, each with its end": strings.Repeat("[", many) + strings.Repeat("]", many),
		"two bodies":                    good + good, "two bodies in two lines": good + "\n" + good, "a bracket behind it": good + "]", "a NUL behind it": good + "\x00",
		"a byte order mark": "\ufeff" + good,
		"UTF-16":            utf16Of(good, binary.LittleEndian), "UTF-16 with its mark": "\xff\xfe" + utf16Of(good, binary.LittleEndian),
		"UTF-16, big end first": utf16Of(good, binary.BigEndian), "UTF-16, big end first, with its mark": "\xfe\xff" + utf16Of(good, binary.BigEndian),
		"UTF-32":   strings.Join(strings.Split(good, ""), "\x00\x00\x00") + "\x00\x00\x00",
		"Latin-1":  strings.Replace(good, `"s"`, "\"\xe4\"", 1) + "\xe4",
		"comments": "/* x */ " + good, "quotes of another kind": strings.ReplaceAll(good, `"`, "'"),
	}
	for name, value := range map[string]string{
		"a number too large": "1e400", "one too far below nothing": "-1e400", "a whole number of 400 digits": "1" + strings.Repeat("0", 400), "a fraction of 400 digits": "0." + strings.Repeat("1", 400),
		"no number": "NaN", "no end of a number": "Infinity", "a zero before": "01", "a plus before": "+1", "a point without more": "1.", "hexadecimal": "0x10",
		"half a pair": `"\ud800"`, "the other half": `"\udc00x"`, "a raw line break": "\"a\nb\"", "a raw NUL": "\"\x00\"", "not UTF-8": "\"\xff\"", "a surrogate in UTF-8": "\"\xed\xa0\x80\"", "too long a form": "\"\xc0\xaf\"",
		"a comma too many": "[1,]", "a comma too few": "[1 2]", "a word of another language": "nil", "deep lists": strings.Repeat("[", many) + strings.Repeat("]", many),
		"deep objects": strings.Repeat(`{"":`, many) + "1" + strings.Repeat("}", many), "a name without quotes": "{a:1}", "a number as a name": "{1:1}", "a bad escape": `"\x"`,
		"a number too large, deep down": `{"a":[{"b":1e999}]}`, "a doubled name, deep down": `{"a":[{"b":1,"b":2}]}`,
	} {
		out[name], out[name+", further in"] = d.with(value, false), d.with(value, true)
	}
	for n := 1; n < len(good); n++ {
		out[fmt.Sprintf("cut after %d of %d", n, len(good))] = good[:n]
	}
	return out
}

// I1
func TestNoDoorTakesWhatIsNoStrictJSON(t *testing.T) {
	r := newStory(t)
	for door, d := range doorways() {
		t.Run(door, func(t *testing.T) {
			var slowest time.Duration
			slow := ""
			bodies := notJSON(d)
			for name, body := range bodies {
				began := time.Now()
				status, answer := r.knock(d, "", body)
				if took := time.Since(began); took > slowest {
					slowest, slow = took, name
				}
				if status != http.StatusBadRequest {
					t.Errorf("%s is answered %d %.300s, want 400: %.300q", name, status, answer, body)
				}
			}
			t.Logf("%d bodies, the slowest, %s, was refused after %s", len(bodies), slow, slowest)
		})
	}
	if is := r.incidents(); len(is) != 0 {
		t.Errorf("of what is no JSON there are incidents: %+v", is)
	}
	for door, d := range doorways() {
		if status, answer := r.knock(d, "", d.good()); status != d.took {
			t.Errorf("a good body at %s is answered %d %s, want %d", door, status, answer, d.took)
		}
	}
}

// A fragment is a piece of a JSON text, and what it means.
type fragment struct{ json, means string }

// fragments are what texts are easily taken for another by.
func fragments() []fragment {
	var out []fragment
	for _, s := range []string{
		"a", "A", "b", "é", "e\u0301", "\ufffd", "\u200b", "\u00ad", "\u202e", "\x7f", "\u0085", "=", ",", "{", "}", "[", "/", "//", "'", "%", " ", "\u00a0", "ß", "ss", "ı", "i", "K", "\u212a",
		"\xff", "\xfe", "\xc3", "\xc3\x28", "\xed\xa0\x80", "\xed\xb0\x80", "\xf4\x90\x80\x80", "\xc0\x80", "\xef\xbf",
	} {
		out = append(out, fragment{s, s})
	}
	return append(out, fragment{`\"`, `"`}, fragment{`\\`, `\`}, fragment{`\n`, "\n"}, fragment{`\\n`, `\n`}, fragment{`\u0001`, "\x01"}, fragment{`\\x01`, `\x01`}, fragment{`\u0000`, "\x00"},
		fragment{`\ud800`, "half"}, fragment{`\udc00`, "other half"}, fragment{`\ud83d\ude00`, "😀"}, fragment{`\",b=\"`, `",b="`}, fragment{`\t`, "\t"}, fragment{`\r`, "\r"})
}

// I2
func TestTwoTextsThatDifferNeverBecomeOneAlert(t *testing.T) {
	r := newStory(t)
	seed := seedOf(t)
	for door, d := range doorways() {
		t.Run(door, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			all := fragments()
			any := func() fragment { return all[rng.IntN(len(all))] }
			taken := 0
			for pairs := 0; pairs < 1000; {
				text := make([]fragment, 1+rng.IntN(4))
				for i := range text {
					text[i] = any()
				}
				other := slices.Clone(text)
				switch i := rng.IntN(len(text)); rng.IntN(3) {
				case 0:
					other[i] = any()
				case 1:
					other = slices.Insert(other, i, any())
				default:
					other = slices.Delete(other, i, i+1)
				}
				ours, means := join(text)
				theirs, alsoMeans := join(other)
				if means == alsoMeans || means == "" || alsoMeans == "" {
					continue
				}
				pairs++
				one, ok := r.fingerprint(d, ours)
				two, also := r.fingerprint(d, theirs)
				if ok && also {
					taken++
				}
				if ok && also && one == two {
					t.Errorf("%q and %q are one alert", means, alsoMeans)
				}
			}
			t.Logf("of 1000 pairs %d were taken, all as two alerts", taken)
			if taken < 200 {
				t.Errorf("of 1000 pairs only %d were taken: that shows little", taken)
			}
		})
	}
}

func join(text []fragment) (body, means string) {
	for _, f := range text {
		body, means = body+f.json, means+f.means
	}
	return body, means
}

// fingerprint is whose alert a text would make at a door; false where it is refused.
func (r *rig) fingerprint(d doorway, text string) (string, bool) {
	r.t.Helper()
	alert, inner := slices.Clone(d.alert), slices.Clone(d.inner)
	for _, members := range [][]member{alert, inner} {
		for i := range members {
			if members[i].name == d.text {
				members[i].value = `"` + text + `"`
			}
		}
	}
	status, answer := r.knock(d, "?dry_run=1", d.body(alert, inner))
	if status == http.StatusBadRequest {
		return "", false
	}
	var made struct {
		Alerts []struct{ Fingerprint string }
	}
	err := json.Unmarshal([]byte(answer), &made)
	if err != nil || status != http.StatusOK || len(made.Alerts) != 1 {
		r.t.Fatalf("a dry run of %q: %d %s, %v", text, status, answer, err)
	}
	return made.Alerts[0].Fingerprint, true
}

// I3
func TestAFieldThatStandsTwiceOrInOtherLettersIsRefused(t *testing.T) {
	r := newStory(t)
	for door, d := range doorways() {
		t.Run(door, func(t *testing.T) {
			shapes := twiceIn(d, "", d.alert, func(alert []member) string { return d.body(alert, d.inner) })
			if d.inner != nil {
				maps.Copy(shapes, twiceIn(d, "inner ", d.inner, func(inner []member) string { return d.body(d.alert, inner) }))
			}
			if len(shapes) < 20 {
				t.Errorf("only %d shapes", len(shapes))
			}
			for name, body := range shapes {
				if status, answer := r.knock(d, "", body); status != http.StatusBadRequest {
					t.Errorf("%s is answered %d %s, want 400: %s", name, status, answer, body)
				}
			}
			t.Logf("%d shapes", len(shapes))
		})
	}
	if is := r.incidents(); len(is) != 0 {
		t.Errorf("of doubled fields there are incidents: %+v", is)
	}
}

// twiceIn returns bodies in which one of members stands twice, or in other letters.
func twiceIn(d doorway, what string, members []member, body func([]member) string) map[string]string {
	out := map[string]string{}
	for i, m := range members {
		other := member{strings.ToUpper(m.name[:1]) + m.name[1:], m.value}
		escaped := member{fmt.Sprintf(`\u%04x`, m.name[0]) + m.name[1:], m.value}
		add := func(how string, front bool, x member) {
			all := append(slices.Clone(members), x)
			if front {
				all = append([]member{x}, members...)
			}
			out[what+m.name+how] = body(all)
		}
		add(" twice", false, m)
		add(" twice, once escaped", false, escaped)
		add(" twice, the other way round", true, escaped)
		labels := d.path == "/api/v2/alerts" && what != "" // there every name is the sender's, and App is not app
		if !labels {
			add(" and in other letters", false, other)
			add(" and in other letters, the other way round", true, other)
		}
		if d.path != "/in/scripts" && !labels {
			all := slices.Clone(members)
			all[i] = other
			out[what+m.name+" only in other letters"] = body(all)
		}
	}
	return out
}
