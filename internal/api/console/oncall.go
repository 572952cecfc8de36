package console

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"tocsin"
	"tocsin/internal/store"
)

const (
	lookAhead  = 14 * 24 * time.Hour
	mostShifts = 200 // of one schedule
	tints      = 6   // colours that people have in a strip
)

// rota is one schedule: who has it now, and who will.
type rota struct {
	Name   string
	Team   string
	Now    string // in words; "" : nobody
	Why    string
	Until  moment
	Strip  strip
	Shifts []shiftLine
	Gaps   int
	Off    []string // ways to page who has it now that are turned off, in words
	Cut    bool     // there are more shifts than are shown
}

// A strip draws the shifts to scale: one unit is one hour.
type strip struct {
	Width  int
	Blocks []block
	Days   []int // where days begin
}

type block struct {
	X, Width int
	Tint     string
	Said     string
}

type shiftLine struct {
	From, To moment
	Long     string
	Who      string // "" : a gap
	Layer    string
	Tint     string
	Now      bool
	Mine     bool
}

// oncallPage is who is on call.
type oncallPage struct {
	Rotas []rota
	View  *viewer
}

// oncall draws who is on call now and in the next days.
func (c *Console) oncall(r *http.Request, v *viewer) (*frame, error) {
	p := &oncallPage{View: v}
	f := &frame{Title: "On call", Nav: "oncall", Fresh: "/oncall?fragment=body", Viewer: v, Body: p, template: "oncall"}
	var off []store.ContactOff
	err := c.db.View(r.Context(), func(tx *store.Tx) error {
		counts, candidates, err := waiting(tx)
		f.Waiting = counts[tocsin.Triggered] + candidates
		if err != nil {
			return err
		}
		off, err = tx.ContactsOff()
		return err
	})
	if err != nil {
		return nil, err
	}
	seen := map[string]string{}
	for _, d := range c.desk.OnCall(v.now) {
		shifts, _ := c.desk.Shifts(d.Schedule, v.now, v.now.Add(lookAhead))
		one := v.rota(d, shifts, seen)
		one.Off = c.offOf(v, off, d.People)
		p.Rotas = append(p.Rotas, one)
	}
	return f, nil
}

// offOf says which ways to page people are turned off.
func (c *Console) offOf(v *viewer, off []store.ContactOff, people []string) (out []string) {
	for _, name := range people {
		p, known := c.desk.Person(name)
		for _, o := range off {
			if known && p.Phone == o.Address {
				out = append(out, v.called(name)+" gets no "+strings.ToUpper(o.Channel)+": "+o.Why+", "+v.at(o.Since).Text)
			}
		}
	}
	return out
}

func (v *viewer) rota(d Duty, shifts []Shift, tintOf map[string]string) rota {
	out := rota{Name: d.Schedule, Team: d.Team, Now: v.names(d.People), Why: d.Why, Until: v.at(d.Until)}
	out.Cut = len(shifts) > mostShifts
	shifts = shifts[:min(len(shifts), mostShifts)]
	for _, s := range shifts {
		who := v.names(s.People)
		tint := "gap"
		if who != "" {
			tint = tintFor(tintOf, who)
		} else {
			out.Gaps++
		}
		out.Shifts = append(out.Shifts, shiftLine{
			From: v.at(s.From), To: v.at(s.To), Long: long(s.To.Sub(s.From)), Who: who, Layer: s.Layer, Tint: tint, Now: !s.From.After(v.now) && s.To.After(v.now),
			Mine: slices.Contains(s.People, v.Person.Name) && v.Person.Name != "",
		})
		x := int(s.From.Sub(v.now) / time.Hour)
		width := int(s.To.Sub(v.now)/time.Hour) - x
		said := who
		if who == "" {
			said = "nobody"
		}
		out.Strip.Blocks = append(out.Strip.Blocks, block{max(x, 0), max(width, 1), tint, said + ", from " + v.at(s.From).Text + " to " + v.at(s.To).Text})
	}
	out.Strip.Width = int(lookAhead / time.Hour)
	for day := midnight(v.now.In(v.zone)); day.Before(v.now.Add(lookAhead)); day = midnight(day) {
		out.Strip.Days = append(out.Strip.Days, int(day.Sub(v.now)/time.Hour))
	}
	return out
}

// midnight is when the day after t begins, where t is.
func midnight(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d+1, 0, 0, 0, 0, t.Location())
}

// names are people as others call them.
func (v *viewer) names(people []string) string {
	out := make([]string, len(people))
	for n, p := range people {
		out[n] = v.called(p)
	}
	return strings.Join(out, ", ")
}

// tintFor gives each who a colour, the same in all schedules of a page.
func tintFor(tintOf map[string]string, who string) string {
	t, ok := tintOf[who]
	if !ok {
		t = "p" + string(rune('0'+len(tintOf)%tints))
		tintOf[who] = t
	}
	return t
}
