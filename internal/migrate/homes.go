package migrate

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"tocsin"
	"tocsin/internal/store"
)

// homes are the partitions, in the new layout, of everything that others follow.
type homes struct {
	partitions int
	of         func(tocsin.Labels) (partition int, whole bool)
	same       bool // all rows go to one partition
	incident   map[int64]int
	major      map[int64]int
	torn       []int64 // open incidents whose firing alerts belong to several partitions; ids rising
}

// ballot counts the alerts of one incident that belong to one partition.
type ballot struct {
	incident  int64
	partition int
}

type votes struct{ firing, all int }

// findHomes reads the labels of the whole state. It finds the same while rows are moved, for labels stay.
func (j *Job) findHomes(ctx context.Context) (*homes, error) {
	h := &homes{partitions: j.Partitions, of: j.Home, incident: map[int64]int{}, major: map[int64]int{}}
	h.same = j.Partitions == 1 || j.IsolateBy == noLabels
	if h.same {
		return h, nil
	}
	counted := map[ballot]votes{}
	alerts := table("alert")
	incident, status, labels := alerts.Column("incident"), alerts.Column("status"), alerts.Column("labels")
	err := j.each(ctx, j.From, alerts, func(r store.Row) error {
		if r.Int(incident) == 0 {
			return nil
		}
		p, _, err := h.labels(r.Text(labels))
		if err != nil {
			return fmt.Errorf("alert %s: %w", tocsin.AlertID(r.Int(0)), err)
		}
		b := ballot{r.Int(incident), p}
		v := counted[b]
		v.all++
		if tocsin.Status(r.Int(status)) == tocsin.Firing {
			v.firing++
		}
		counted[b] = v
		return nil
	})
	if err != nil {
		return nil, err
	}
	h.count(counted)
	err = j.placeIncidents(ctx, h, counted)
	if err != nil {
		return nil, err
	}
	return h, j.placeMajors(ctx, h)
}

// noLabels is how the state says that no labels isolate.
const noLabels = "[]"

// labels returns the partition that a column of labels says. whole is false where one of the labels that isolate is missing.
func (h *homes) labels(text string) (partition int, whole bool, err error) {
	var ls tocsin.Labels
	err = json.Unmarshal([]byte(text), &ls)
	if err != nil {
		return 0, false, fmt.Errorf("labels: %w", err)
	}
	partition, whole = h.of(ls)
	return partition, whole, nil
}

// count lets alerts decide where their incidents go: those that fire, or where none does, all. The lower partition wins a draw.
func (h *homes) count(counted map[ballot]votes) {
	best := map[int64]votes{}
	for b, v := range counted {
		was, is := best[b.incident]
		more := cmp.Or(cmp.Compare(v.firing, was.firing), cmp.Compare(v.all, was.all), cmp.Compare(h.incident[b.incident], b.partition))
		if !is || more > 0 {
			best[b.incident], h.incident[b.incident] = v, b.partition
		}
	}
}

// placeIncidents places those that have no alerts any more, and finds those that are torn.
func (j *Job) placeIncidents(ctx context.Context, h *homes, counted map[ballot]votes) error {
	fires := map[int64]int{}
	for b, v := range counted {
		if v.firing > 0 {
			fires[b.incident]++
		}
	}
	incidents := table("incident")
	state, labels := incidents.Column("state"), incidents.Column("labels")
	return j.each(ctx, j.From, incidents, func(r store.Row) error {
		id := r.Int(0)
		if fires[id] > 1 && tocsin.IncidentState(r.Int(state)).Open() {
			h.torn = append(h.torn, id)
		}
		if _, is := h.incident[id]; is {
			return nil
		}
		p, _, err := h.labels(r.Text(labels))
		if err != nil {
			return fmt.Errorf("incident %s: %w", tocsin.IncidentID(id), err)
		}
		h.incident[id] = p
		return nil
	})
}

// placeMajors places majors by their scope; where that does not say it, as rules of before may have it, with most of their incidents.
func (j *Job) placeMajors(ctx context.Context, h *homes) error {
	majors := table("major")
	scope, incidents := majors.Column("scope"), majors.Column("incidents")
	return j.each(ctx, j.From, majors, func(r store.Row) error {
		p, whole, err := h.labels(r.Text(scope))
		if err != nil {
			return fmt.Errorf("major %s: %w", tocsin.MajorID(r.Int(0)), err)
		}
		var members []int64
		if text := r.Text(incidents); !whole && text != "" {
			err = json.Unmarshal([]byte(text), &members)
			if err != nil {
				return fmt.Errorf("incidents of major %s: %w", tocsin.MajorID(r.Int(0)), err)
			}
		}
		in := map[int]int{}
		for _, id := range members {
			if home, is := h.incident[id]; is {
				in[home]++
			}
		}
		for n, home := range slices.Sorted(maps.Keys(in)) {
			if n == 0 || in[home] > in[p] {
				p = home
			}
		}
		h.major[r.Int(0)] = p
		return nil
	})
}

// about returns where a row goes that is about an incident or a major; was is the partition that it had.
func (h *homes) about(incident, major, was int64) int {
	if h.same {
		p, _ := h.of(nil)
		return p
	}
	if p, is := h.incident[incident]; is && incident != 0 {
		return p
	}
	if p, is := h.major[major]; is && major != 0 {
		return p
	}
	return int(was % int64(h.partitions))
}

// place writes into a row of one of the tables the partition where it goes.
func (h *homes) place(b store.Table, r store.Row) error {
	at := b.Column("partition")
	var p int
	switch b.Name {
	case "alert":
		incident := r.Int(b.Column("incident"))
		home, is := h.incident[incident]
		if !is || incident == 0 {
			var err error
			home, _, err = h.labels(r.Text(b.Column("labels")))
			if err != nil {
				return fmt.Errorf("alert %s: %w", tocsin.AlertID(r.Int(0)), err)
			}
		}
		p = home
		r[b.Column("as_of")] = int64(0) // offsets are of another journal
	case "incident":
		p = h.about(r.Int(0), 0, r.Int(at))
	case "major":
		p = h.about(0, r.Int(0), r.Int(at))
	case "page", "timer":
		p = h.about(r.Int(b.Column("incident")), r.Int(b.Column("major")), r.Int(at))
	default:
		return nil
	}
	r[at] = int64(p)
	return nil
}
