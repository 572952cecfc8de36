package console

import (
	"net/http"
	"time"

	"tocsin"
)

// A viewer is who a page is drawn for.
type viewer struct {
	Person tocsin.Person // Name "" where nobody is logged in; a robot has only a name
	Act    bool          // may act on incidents
	Decide bool          // may decide about majors
	zone   *time.Location
	now    time.Time
	people map[string]string // names as read before, for this page
	desk   Desk
}

// viewer says who looks by r.
func (c *Console) viewer(r *http.Request) *viewer {
	name, role, ok := c.Who(r)
	if !ok {
		return c.viewerOf("", "")
	}
	return c.viewerOf(name, role)
}

func (c *Console) viewerOf(name, role string) *viewer {
	v := &viewer{zone: c.Zone, now: c.Now(), people: map[string]string{}, desk: c.desk}
	if name == "" {
		return v
	}
	v.Person = tocsin.Person{Name: name, Role: role}
	if p, ok := c.desk.Person(name); ok {
		v.Person = p
		v.Person.Role = role
	}
	v.Act, v.Decide = c.May(role)
	if zone, err := time.LoadLocation(v.Person.TimeZone); err == nil && v.Person.TimeZone != "" && v.Person.TimeZone != "Local" {
		v.zone = zone
	}
	if v.Person.TimeZone == "" {
		v.Person.TimeZone = v.zone.String() // texts of package paging show times by it
	}
	return v
}

// Zone is the name of the zone of all times on the page.
func (v *viewer) Zone() string {
	short := v.now.In(v.zone).Format("MST")
	if name := v.zone.String(); name != short {
		return name + " (" + short + ")"
	}
	return short
}

// called is what other people call name: Person One, or the name itself where the configuration does not know it.
func (v *viewer) called(name string) string {
	if name == "" {
		return ""
	}
	full, ok := v.people[name]
	if !ok {
		full = name
		if p, known := v.desk.Person(name); known && p.Full != "" {
			full = p.Full
		}
		v.people[name] = full
	}
	return full
}

// owner is called, or you.
func (v *viewer) owner(name string) string {
	if name != "" && name == v.Person.Name {
		return "you"
	}
	return v.called(name)
}
