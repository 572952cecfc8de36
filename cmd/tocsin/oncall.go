package main

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tocsin/internal/client"
)

// oncall says who carries the pagers.
func (w *world) oncall() *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use: "oncall", Short: "Say who is on call, now or at another time", Args: cobra.NoArgs,
		Example: "  tocsin oncall\n  tocsin oncall --at \"2026-03-02 08:00\"\n  tocsin oncall --at +12h",
	}
	c := w.connect(cmd)
	cmd.Flags().StringVar(&at, "at", "", `the time: "2026-03-02 08:00", 08:00, +2h, RFC 3339`)
	cmd.RunE = does(func(ctx context.Context, _ []string) error {
		t, err := w.timeOf(at)
		if err != nil {
			return err
		}
		get := func(cl *client.Client) (client.OnCall, error) { return cl.OnCall(ctx, t) }
		return printOne(c, get, func(o client.OnCall) json.RawMessage { return o.Raw }, c.printDuties)
	})
	return cmd
}

func (c *connection) printDuties(o client.OnCall) error {
	cal := c.calendar()
	rows := make([][]string, len(o.Duties))
	for n, d := range o.Duties {
		rows[n] = []string{d.Schedule, d.Team, nobodyOr(d.People), d.Why, cal.at(d.Until)}
	}
	return c.printTable("schedules", false, []string{"SCHEDULE", "TEAM", "ON CALL", "WHY", "UNTIL"}, rows)
}

func nobodyOr(people []string) string {
	if len(people) == 0 {
		return "nobody"
	}
	return strings.Join(people, ", ")
}

// timeOf reads a flag's time; "" is the zero time.
func (w *world) timeOf(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	return parseTime(s, w.now(), w.zone)
}

// schedule shows one schedule.
func (w *world) schedule() *cobra.Command {
	g := group("schedule", "Show who has a schedule's pager when", `  tocsin schedule show platform --from "2026-03-01" --to "2026-04-01"`)
	c := w.connect(g)
	var from, to string
	show := &cobra.Command{
		Use: "show NAME", Short: "Show the shifts of one schedule, gaps included", Args: needs("the name of a schedule", false),
		Example: "  tocsin schedule show platform\n  tocsin schedule show platform --from 2026-03-01 --to 2026-04-01 --utc",
	}
	show.Flags().StringVar(&from, "from", "", "begin here; else now")
	show.Flags().StringVar(&to, "to", "", "end here; else two weeks after the beginning")
	show.RunE = does(func(ctx context.Context, args []string) error {
		begin, err := w.timeOf(from)
		if err != nil {
			return err
		}
		end, err := w.timeOf(to)
		if err != nil {
			return err
		}
		get := func(cl *client.Client) (client.Schedule, error) { return cl.Schedule(ctx, args[0], begin, end) }
		return printOne(c, get, func(s client.Schedule) json.RawMessage { return s.Raw }, c.printShifts)
	})
	g.AddCommand(show, notYet("gaps"), notYet("ical"))
	return g
}

func (c *connection) printShifts(s client.Schedule) error {
	cal := c.calendar()
	rows := make([][]string, len(s.Shifts))
	for n, x := range s.Shifts {
		rows[n] = []string{cal.at(x.From), cal.at(x.To), nobodyOr(x.People), x.Layer}
	}
	return c.printTable("shifts", false, []string{"FROM", "TO", "ON CALL", "LAYER"}, rows)
}
