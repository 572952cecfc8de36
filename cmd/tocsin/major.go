package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tocsin/internal/client"
)

// major is everything that is done to majors and candidates.
func (w *world) major() *cobra.Command {
	g := group("major", "List, show, confirm and reject major incidents", `  tocsin major list
  tocsin major confirm m7 --by three --note "the whole region is gone"`)
	c := w.connect(g)
	g.AddCommand(c.majorList(), c.majorShow())
	for _, v := range []verb{
		{"confirm", "Confirm a candidate: it is a major"},
		{"reject", "Reject a candidate: its incidents go on as they were"},
		{"looking", "Take one more decide_within to decide"},
		{"lead", "Lead a confirmed major"},
		{"escalate", "Pass an undecided candidate on to the next manager"},
		{"resolve", "Close it"},
	} {
		g.AddCommand(command("major", v, c.commandMajors))
	}
	g.AddCommand(note("major", c.commandMajors))
	return g
}

func (c *connection) majorList() *cobra.Command {
	var f client.Filter
	cmd := &cobra.Command{
		Use: "list", Short: "List majors and candidates, the newest first; without --state those that are open", Args: cobra.NoArgs,
		Example: "  tocsin major list --state all",
	}
	cmd.Flags().StringVar(&f.State, "state", "proposed,confirmed", "proposed, confirmed, rejected, expired, demoted or resolved; several with commas; all for every one")
	limit(cmd, &f)
	states(cmd, "proposed", "confirmed", "rejected", "expired", "demoted", "resolved", "all")
	cmd.RunE = does(func(ctx context.Context, _ []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		if err := checked(&f); err != nil {
			return err
		}
		list, err := cl.Majors(ctx, f)
		if err != nil {
			return err
		}
		return c.printMajors(list)
	})
	return cmd
}

func (c *connection) printMajors(list client.List[client.Major]) error {
	if c.json {
		return printRaw(c, "majors", list, func(x client.Major) json.RawMessage { return x.Raw })
	}
	cal := c.calendar()
	rows := make([][]string, len(list.Items))
	for n, m := range list.Items {
		rows[n] = []string{
			m.ID, sev(m.Priority), m.State, short(m.Title, 60), pairs(m.Scope), measured(m.Measures), strconv.Itoa(len(m.Incidents)), cal.at(m.ProposedAt),
			m.DecidedBy,
		}
	}
	return c.printTable("majors", list.More, []string{"ID", "PRIORITY", "STATE", "TITLE", "SCOPE", "MEASURES", "INCIDENTS", "PROPOSED", "DECIDED BY"}, rows)
}

// measured says what was counted.
func measured(m client.Measures) string {
	var parts []string
	for _, x := range []struct {
		n    int
		what string
	}{{m.Hosts, "host"}, {m.Services, "service"}, {m.Incidents, "incident"}, {m.Users, "user"}} {
		if x.n > 0 {
			parts = append(parts, count(x.n, x.what))
		}
	}
	return strings.Join(parts, ", ")
}

func (c *connection) majorShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show one major: what it covers, what was counted, its timeline and pages", Args: needs("an id, such as m7", false),
		Example: "  tocsin major show m7",
	}
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		get := func(cl *client.Client) (client.Major, error) { return cl.Major(ctx, args[0]) }
		return printOne(c, get, func(m client.Major) json.RawMessage { return m.Raw }, c.showMajor)
	})
	return cmd
}

func (c *connection) showMajor(m client.Major) error {
	cal := c.calendar()
	fields := [][2]string{
		{"major", m.ID + " " + m.Title},
		{"state", majorState(m, cal)},
		{"phase", m.Phase},
		{"priority", sev(m.Priority)},
		{"rule", m.Rule},
		{"scope", pairs(m.Scope)},
		{"proposed", cal.at(m.ProposedAt)},
		{"measures", measured(m.Measures)},
		{"peak", measured(m.Peak)},
		{"asked for", measured(m.Limits)},
		{"led by", m.LedBy},
		{"incidents", strings.Join(m.Incidents, " ")},
	}
	if m.Code > 0 {
		fields = append(fields, [2]string{"code", strconv.Itoa(m.Code)})
	}
	showFields(c.w.stdout, fields)
	return c.showHistory(m.Timeline, m.Pages)
}

// majorState says the state, and what is next or who decided.
func majorState(m client.Major, cal calendar) string {
	switch {
	case m.State == "proposed" && !m.DecideBy.IsZero():
		return "proposed, to be decided by " + cal.at(m.DecideBy)
	case m.DecidedBy != "":
		return fmt.Sprintf("%s (decided by %s at %s)", m.State, m.DecidedBy, cal.at(m.DecidedAt))
	}
	return m.State
}

// commandMajors does one thing to several majors.
func (c *connection) commandMajors(ctx context.Context, word string, ids []string, o client.Order) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	return c.eachOf(ids, "majors", func(id string) (string, json.RawMessage, error) {
		m, err := cl.CommandMajor(ctx, id, word, o)
		return fmt.Sprintf("%s %s: %s", m.ID, majorState(m, c.calendar()), m.Title), m.Raw, err
	})
}
