package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tocsin/internal/client"
)

// deadLetters is what could not be applied, and what is done with it.
func (w *world) deadLetters() *cobra.Command {
	g := group("dead-letters", "List records that could not be applied, and drive them again", `  tocsin dead-letters
  tocsin dead-letters show 3/1042
  tocsin dead-letters redrive 3/1042
  tocsin dead-letters redrive --all`)
	c := w.connect(g)
	list := c.letterList()
	g.Flags().AddFlagSet(list.Flags())
	g.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return needsOneOfItsOwn(cmd, args)
		}
		return list.RunE(cmd, nil)
	}
	g.AddCommand(list, c.letterShow(),
		c.settle("redrive", "Put records into the journal again; they get a new offset"),
		c.settle("drop", "Give records up that nobody needs"))
	return g
}

const mostLetters = 1000

func (c *connection) letterList() *cobra.Command {
	var limit int
	cmd := &cobra.Command{Use: "list", Short: "List them, the newest last", Args: cobra.NoArgs, Example: "  tocsin dead-letters list --limit 20"}
	cmd.Flags().IntVar(&limit, "limit", 100, "at most so many, up to 1000")
	cmd.RunE = does(func(ctx context.Context, _ []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		if limit < 1 || limit > mostLetters {
			return wrongUse("--limit %d: from 1 to %d", limit, mostLetters)
		}
		found, err := cl.DeadLetters(ctx, limit)
		if err != nil {
			return err
		}
		return c.printLetters(found)
	})
	return cmd
}

func (c *connection) printLetters(list client.List[client.DeadLetter]) error {
	if c.json {
		return printRaw(c, "dead_letters", list, func(x client.DeadLetter) json.RawMessage { return x.Raw })
	}
	cal := c.calendar()
	rows := make([][]string, len(list.Items))
	for i, d := range list.Items {
		rows[i] = []string{d.ID, cal.at(d.At), strconv.Itoa(d.Size), strconv.Itoa(d.Tries), short(d.Reason, 100)}
	}
	return c.printTable("dead letters", list.More, []string{"ID", "SET ASIDE", "BYTES", "TRIES", "REASON"}, rows)
}

func (c *connection) letterShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show one with what can be read of it", Args: needs("an id, such as 3/1042", false), Example: "  tocsin dead-letters show 3/1042",
	}
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		partition, offset, err := letterID(args[0])
		if err != nil {
			return err
		}
		get := func(cl *client.Client) (client.DeadLetter, error) { return cl.DeadLetter(ctx, partition, offset) }
		return printOne(c, get, func(d client.DeadLetter) json.RawMessage { return d.Raw }, c.showLetter)
	})
	return cmd
}

// mostDumped is how many bytes of a payload that cannot be read are printed; --json has them all.
const mostDumped = 512

func (c *connection) showLetter(d client.DeadLetter) error {
	cal := c.calendar()
	fields := [][2]string{
		{"dead letter", d.ID},
		{"set aside", cal.at(d.At)},
		{"reason", d.Reason},
		{"tries", strconv.Itoa(d.Tries)},
		{"bytes", strconv.Itoa(d.Size)},
	}
	if d.Record == nil {
		showFields(c.w.stdout, fields)
		fmt.Fprintf(c.w.stdout, "\nPayload\n%s", hex.Dump(d.Payload[:min(len(d.Payload), mostDumped)]))
		return nil
	}
	showFields(c.w.stdout, append(fields, [][2]string{
		{"kind", d.Record.Kind}, {"source", d.Record.Source}, {"domain", d.Record.Domain}, {"received", cal.at(d.Record.At)}, {"rules", d.Record.Rules},
	}...))
	rows := make([][]string, len(d.Record.Events))
	for i, e := range d.Record.Events {
		rows[i] = []string{e.Status, e.Severity, short(e.Key, 60), short(e.Summary, 60), short(pairs(e.Labels), 120)}
	}
	return c.section("Events", []string{"STATUS", "SEVERITY", "KEY", "SUMMARY", "LABELS"}, rows)
}

// settle returns the command that redrives or drops letters.
func (c *connection) settle(word, what string) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: word + " ID...|--all", Short: what, Args: cobra.ArbitraryArgs,
		Example: fmt.Sprintf("  tocsin dead-letters %[1]s 3/1042\n  tocsin dead-letters %[1]s --all", word),
	}
	cmd.Flags().BoolVar(&all, "all", false, "all that are there now, the newest 1000 of them")
	cmd.RunE = does(func(ctx context.Context, ids []string) error {
		if all == (len(ids) > 0) {
			return wrongUse("which ones? tocsin dead-letters %s ID... or --all", word)
		}
		for _, id := range ids {
			if _, _, err := letterID(id); err != nil {
				return err
			}
		}
		cl, err := c.client()
		if err != nil {
			return err
		}
		if all {
			ids, err = everyLetter(ctx, cl)
			if err != nil {
				return err
			}
		}
		return c.eachOf(ids, "dead_letters", func(id string) (string, json.RawMessage, error) {
			partition, offset, err := letterID(id)
			if err != nil {
				return "", nil, err
			}
			s, err := cl.SettleDeadLetter(ctx, partition, offset, word)
			if err != nil {
				return "", nil, err
			}
			if s.RedrivenAs == "" {
				return s.ID + " dropped", s.Raw, nil
			}
			return s.ID + " driven again as " + s.RedrivenAs, s.Raw, nil
		})
	})
	return cmd
}

// everyLetter returns the ids of the letters that are there now, at most 1,000: what is set aside anew is not driven in a circle.
func everyLetter(ctx context.Context, cl *client.Client) ([]string, error) {
	found, err := cl.DeadLetters(ctx, mostLetters)
	ids := make([]string, len(found.Items))
	for i, d := range found.Items {
		ids[i] = d.ID
	}
	return ids, err
}

// letterID reads partition/offset.
func letterID(id string) (partition int, offset int64, err error) {
	p, o, _ := strings.Cut(id, "/")
	part, err := strconv.ParseUint(p, 10, 31)
	at, wrong := strconv.ParseUint(o, 10, 63)
	if errors.Join(err, wrong) != nil {
		return 0, 0, wrongUse("%q is no id such as 3/1042: the partition and the offset", id)
	}
	return int(part), int64(at), nil
}
