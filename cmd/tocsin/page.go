package main

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/spf13/cobra"

	"tocsin/internal/client"
)

// page is what became of the messages to people.
func (w *world) page() *cobra.Command {
	g := group("page", "List who was paged, and what became of it", "  tocsin page list --incident i42\n  tocsin page list --state failed")
	c := w.connect(g)
	var f client.Filter
	cmd := &cobra.Command{
		Use: "list", Short: "List pages, the newest due first", Args: cobra.NoArgs,
		Example: "  tocsin page list --incident i42\n  tocsin page list --person one --state sent,delivered",
	}
	cmd.Flags().StringVar(&f.State, "state", "", "due, claimed, unknown, sent, delivered, failed, answered or cancelled; several with commas")
	cmd.Flags().StringVar(&f.Incident, "incident", "", "only of this incident")
	cmd.Flags().StringVar(&f.Major, "major", "", "only of this major")
	cmd.Flags().StringVar(&f.Person, "person", "", "only to this person")
	cmd.Flags().IntVar(&f.Limit, "limit", 100, "at most so many, up to 1000")
	states(cmd, "due", "claimed", "unknown", "sent", "delivered", "failed", "answered", "cancelled")
	cmd.RunE = does(func(ctx context.Context, _ []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		if f.Limit < 1 || f.Limit > 1000 {
			return wrongUse("--limit %d: from 1 to 1000", f.Limit)
		}
		list, err := cl.Pages(ctx, f)
		if err != nil {
			return err
		}
		return c.printPages(list)
	})
	g.AddCommand(cmd)
	return g
}

func (c *connection) printPages(list client.List[client.Page]) error {
	if c.json {
		return printRaw(c, "pages", list, func(x client.Page) json.RawMessage { return x.Raw })
	}
	return c.printTable("pages", list.More, pageHeader, pageRows(list.Items, c.calendar()))
}

var pageHeader = []string{"ID", "ABOUT", "KIND", "PERSON", "CHANNEL", "PROVIDER", "STATE", "TRIES", "DUE", "SENT", "ERROR"}

func pageRows(pages []client.Page, cal calendar) [][]string {
	rows := make([][]string, len(pages))
	for n, p := range pages {
		about := p.Incident
		if about == "" {
			about = p.Major
		}
		rows[n] = []string{
			p.ID, about, p.Kind, p.Person, p.Channel, p.Provider, p.State, strconv.Itoa(p.Attempts), cal.at(p.DueAt), cal.at(p.SentAt), short(p.Error, 80),
		}
	}
	return rows
}
