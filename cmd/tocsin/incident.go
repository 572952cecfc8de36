package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tocsin/internal/client"
)

// incident is everything that is done to incidents.
func (w *world) incident() *cobra.Command {
	g := group("incident", "List, show, acknowledge and resolve incidents", `  tocsin incident list --state triggered
  tocsin incident show i42
  tocsin incident ack i42 --by one --note "looking at the replica"`)
	c := w.connect(g)
	g.AddCommand(c.incidentList(), c.incidentShow())
	for _, v := range []verb{
		{"ack", "Acknowledge: it is yours, the escalation stops"},
		{"take", "Acknowledge, also where somebody else has it"},
		{"unack", "Give it back: the escalation starts again"},
		{"resolve", "Close it"},
		{"reopen", "Open it again"},
		{"escalate", "Page the next step now"},
	} {
		g.AddCommand(command("incident", v, c.commandIncidents))
	}
	g.AddCommand(note("incident", c.commandIncidents))
	return g
}

// A verb is one thing that can be done to an incident or a major, by the API's word for it.
type verb struct{ word, short string }

// An action does a verb to everything in ids.
type action func(ctx context.Context, word string, ids []string, o client.Order) error

// command returns the command of a verb.
func command(kind string, v verb, do action) *cobra.Command {
	var o client.Order
	cmd := &cobra.Command{Use: v.word + " ID...", Short: v.short, Args: needs("an id, such as "+kind[:1]+"42", true)}
	cmd.Flags().StringVar(&o.By, "by", "", "the person who does it, where the token is a robot's")
	cmd.Flags().StringVar(&o.Note, "note", "", "a note for the timeline")
	cmd.Example = fmt.Sprintf("  tocsin %s %s %s --by one", kind, v.word, kind[:1]+"42")
	cmd.RunE = does(func(ctx context.Context, ids []string) error { return do(ctx, v.word, ids, o) })
	return cmd
}

// note returns the command that writes a line into a timeline.
func note(kind string, do action) *cobra.Command {
	var by string
	cmd := &cobra.Command{Use: "note ID TEXT...", Short: "Write a note into the timeline", Args: needs("an id and the text", true)}
	cmd.Flags().StringVar(&by, "by", "", "the person who writes it, where the token is a robot's")
	cmd.Example = fmt.Sprintf("  tocsin %s note %s the replica is back --by one", kind, kind[:1]+"42")
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		if len(args) < 2 {
			return wrongUse("what is the note? tocsin %s note %s TEXT", kind, args[0])
		}
		return do(ctx, "note", args[:1], client.Order{By: by, Note: strings.Join(args[1:], " ")})
	})
	return cmd
}

func (c *connection) incidentList() *cobra.Command {
	var f client.Filter
	cmd := &cobra.Command{
		Use: "list", Short: "List incidents, the newest first; without --state those that are open", Args: cobra.NoArgs,
		Example: "  tocsin incident list\n  tocsin incident list --state resolved --service checkout --limit 20",
	}
	cmd.Flags().StringVar(&f.State, "state", "triggered,acknowledged", "triggered, acknowledged, resolved or closed; several with commas; all for every one")
	cmd.Flags().StringVar(&f.Service, "service", "", "only of this service")
	cmd.Flags().StringVar(&f.Major, "major", "", "only those joined to this major")
	limit(cmd, &f)
	states(cmd, "triggered", "acknowledged", "resolved", "closed", "all")
	cmd.RunE = does(func(ctx context.Context, _ []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		if err := checked(&f); err != nil {
			return err
		}
		list, err := cl.Incidents(ctx, f)
		if err != nil {
			return err
		}
		return c.printIncidents(list)
	})
	return cmd
}

// limit gives a list the flag that bounds it.
func limit(cmd *cobra.Command, f *client.Filter) {
	cmd.Flags().IntVar(&f.Limit, "limit", 100, "at most so many")
}

// states completes the words of --state.
func states(cmd *cobra.Command, words ...string) {
	err := cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	_ = err // the flag stands a line above
}

// checked looks at what a list was narrowed by.
func checked(f *client.Filter) error {
	if f.Limit < 1 || f.Limit > 100_000 {
		return wrongUse("--limit %d: from 1 to 100000", f.Limit)
	}
	if f.State == "all" {
		f.State = ""
	}
	return nil
}

func (c *connection) printIncidents(list client.List[client.Incident]) error {
	if c.json {
		return printRaw(c, "incidents", list, func(x client.Incident) json.RawMessage { return x.Raw })
	}
	rows := make([][]string, len(list.Items))
	cal := c.calendar()
	for n, i := range list.Items {
		rows[n] = []string{
			i.ID, sev(i.Priority), i.State, short(i.Title, 60), i.Service, fmt.Sprintf("%d/%d", i.OpenAlerts, i.AlertCount), cal.at(i.OpenedAt), i.AckedBy, i.Major,
		}
	}
	return c.printTable("incidents", list.More, []string{"ID", "PRIORITY", "STATE", "TITLE", "SERVICE", "FIRING", "OPENED", "WHO", "MAJOR"}, rows)
}

// printTable prints a list, or that there is nothing in it.
func (c *connection) printTable(what string, more bool, header []string, rows [][]string) error {
	if len(rows) == 0 {
		fmt.Fprintf(c.w.stderr, "no %s\n", what)
		return nil
	}
	err := table(c.w.stdout, header, rows)
	if more {
		fmt.Fprintf(c.w.stderr, "there are more %s: see --limit\n", what)
	}
	return err
}

// sev writes a priority as people say it.
func sev(priority int) string {
	if priority == 0 {
		return ""
	}
	return "SEV" + strconv.Itoa(priority)
}

func (c *connection) incidentShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show one incident with its alerts and why, its timeline and its pages", Args: needs("an id, such as i42", false),
		Example: "  tocsin incident show i42",
	}
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		get := func(cl *client.Client) (client.Incident, error) { return cl.Incident(ctx, args[0]) }
		return printOne(c, get, func(i client.Incident) json.RawMessage { return i.Raw }, c.showIncident)
	})
	return cmd
}

func (c *connection) showIncident(i client.Incident) error {
	cal := c.calendar()
	fields := [][2]string{
		{"incident", i.ID + " " + i.Title},
		{"state", stateOf(i, cal)},
		{"priority", sev(i.Priority)},
		{"severity", i.Severity},
		{"urgency", i.Urgency},
		{"service", i.Service},
		{"labels", pairs(i.Labels)},
		{"rule", i.Rule},
		{"key", i.Key},
		{"escalation", i.Escalation},
		{"major", i.Major},
		{"opened", cal.at(i.OpenedAt)},
		{"alerts", fmt.Sprintf("%d, %d firing", i.AlertCount, i.OpenAlerts)},
	}
	if i.Code > 0 {
		fields = append(fields, [2]string{"code", strconv.Itoa(i.Code)})
	}
	showFields(c.w.stdout, fields)
	alerts := make([][]string, len(i.Alerts))
	for n, a := range i.Alerts {
		alerts[n] = []string{a.ID, a.Status, a.Severity, short(a.Summary, 60), a.Source, strconv.FormatInt(a.Count, 10), cal.at(a.StartsAt), a.Why.Joined}
	}
	err := c.section("Alerts", []string{"ID", "STATUS", "SEVERITY", "SUMMARY", "SOURCE", "COUNT", "SINCE", "WHY HERE"}, alerts)
	if err != nil {
		return err
	}
	return c.showHistory(i.Timeline, i.Pages)
}

// stateOf says the state, and who brought it there.
func stateOf(i client.Incident, cal calendar) string {
	switch {
	case !i.ResolvedAt.IsZero() && i.ResolvedBy != "":
		return fmt.Sprintf("%s by %s at %s", i.State, i.ResolvedBy, cal.at(i.ResolvedAt))
	case !i.ResolvedAt.IsZero():
		return fmt.Sprintf("%s at %s", i.State, cal.at(i.ResolvedAt))
	case i.AckedBy != "":
		return fmt.Sprintf("%s by %s at %s", i.State, i.AckedBy, cal.at(i.AckedAt))
	}
	return i.State
}

// showHistory prints what happened, and who was told.
func (c *connection) showHistory(timeline []client.Change, pages []client.Page) error {
	cal := c.calendar()
	rows := make([][]string, len(timeline))
	for n, x := range timeline {
		rows[n] = []string{cal.at(x.At), x.Actor, x.Kind, short(strings.TrimSuffix(said(x.Data), "; "), 120)}
	}
	err := c.section("Timeline", []string{"AT", "WHO", "WHAT", "MORE"}, rows)
	if err != nil {
		return err
	}
	return c.section("Pages", pageHeader, pageRows(pages, cal))
}

// said makes a line of the data of a change: what people would ask first, or its fields by name.
func said(data json.RawMessage) string {
	var known struct {
		Note   string   `json:"note"`
		Paging []string `json:"paging"`
		Steps  []struct {
			Alert   string `json:"alert"`
			Summary string `json:"summary"`
			Why     string `json:"why"`
		} `json:"steps"`
	}
	if json.Unmarshal(data, &known) == nil && known.Note+strings.Join(known.Paging, "") != "" {
		return strings.Join(append(known.Paging, known.Note), "; ")
	}
	if n := len(known.Steps); n > 0 {
		step := known.Steps[0]
		line := strings.TrimSpace(step.Alert + " " + step.Summary)
		if n > 1 {
			line += fmt.Sprintf(" and %d more", n-1)
		}
		return strings.TrimPrefix(line+": "+step.Why, ": ")
	}
	return byName(data)
}

// byName makes a line of any object's fields.
func byName(data json.RawMessage) string {
	var fields map[string]json.RawMessage
	if len(data) == 0 || json.Unmarshal(data, &fields) != nil {
		return string(data)
	}
	parts := make([]string, 0, len(fields))
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		text := string(fields[name])
		var s string
		if json.Unmarshal(fields[name], &s) == nil {
			text = s
		}
		parts = append(parts, name+": "+text)
	}
	return strings.Join(parts, ", ")
}

// section prints a table under a title; nothing where it has no rows.
func (c *connection) section(title string, header []string, rows [][]string) error {
	if len(rows) == 0 {
		return nil
	}
	fmt.Fprintf(c.w.stdout, "\n%s\n", title)
	return table(c.w.stdout, header, rows)
}

// showFields prints the fields of one record that say something, a line each.
func showFields(w io.Writer, fields [][2]string) {
	for _, f := range fields {
		if f[1] != "" && f[1] != "-" {
			fmt.Fprintf(w, "%-11s %s\n", f[0], clean(f[1]))
		}
	}
}

// pairs prints labels, by name.
func pairs(labels map[string]string) string {
	parts := make([]string, 0, len(labels))
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, name+"="+labels[name])
	}
	return strings.Join(parts, " ")
}

// commandIncidents does one thing to several incidents. One that refuses does not keep the others from it.
func (c *connection) commandIncidents(ctx context.Context, word string, ids []string, o client.Order) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	return c.eachOf(ids, "incidents", func(id string) (string, json.RawMessage, error) {
		i, err := cl.CommandIncident(ctx, id, word, o)
		return fmt.Sprintf("%s %s: %s", i.ID, stateOf(i, c.calendar()), i.Title), i.Raw, err
	})
}

// A refusal is one of several that was not done.
type refusal struct {
	ID    string `json:"id"`
	Error string `json:"error"`
}

// eachOf does something to each of ids, and prints what became of it. It ends early only where the server cannot answer.
func (c *connection) eachOf(ids []string, what string, do func(id string) (line string, raw json.RawMessage, err error)) error {
	done, refused := []json.RawMessage{}, []refusal{}
	var bad error
	for _, id := range ids {
		line, raw, err := do(id)
		if err != nil {
			refused = append(refused, refusal{id, err.Error()})
			fmt.Fprintf(c.w.stderr, "tocsin: %s\n", clean(err.Error()))
			bad = err
			if exitOf(err) == exitWrong {
				break
			}
			continue
		}
		done = append(done, raw)
		if !c.json {
			fmt.Fprintln(c.w.stdout, clean(line))
		}
	}
	if c.json {
		err := printJSON(c.w.stdout, map[string]any{what: done, "refused": refused})
		if err != nil {
			return err
		}
	}
	if bad != nil {
		return toldAs(bad)
	}
	return nil
}

// told is an error that the user has been told already; only its exit code is still owed.
type told struct{ error }

func (t told) Unwrap() error { return t.error }

func (t told) Is(target error) bool { return target == errSaid }

func toldAs(err error) error { return told{err} }
