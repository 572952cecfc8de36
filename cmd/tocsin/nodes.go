package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tocsin/internal/client"
)

// nodes says who does what, and how far behind.
func (w *world) nodes() *cobra.Command {
	cmd := &cobra.Command{
		Use: "nodes", Short: "Say which nodes work on which partitions, and how far behind", Args: cobra.NoArgs,
		Example: "  tocsin nodes\n  tocsin nodes --json --url http://node-1.example.org:8080",
	}
	c := w.connect(cmd)
	cmd.RunE = does(func(ctx context.Context, _ []string) error {
		get := func(cl *client.Client) (client.Nodes, error) { return cl.Nodes(ctx) }
		return printOne(c, get, func(n client.Nodes) json.RawMessage { return n.Raw }, c.printNodes)
	})
	return cmd
}

func (c *connection) printNodes(n client.Nodes) error {
	rows := make([][]string, len(n.Nodes))
	type place struct {
		partition int
		row       []string
	}
	var places []place
	for i, x := range n.Nodes {
		name := x.Name
		if x.Self {
			name += " *"
		}
		rows[i] = []string{
			name, x.Address, x.Version, x.State, ago(n.At.Sub(x.SeenAt)), runs(x.Partitions), strconv.FormatInt(x.Lag, 10), strconv.FormatInt(x.Alerts, 10),
			strconv.FormatInt(x.Incidents, 10), strconv.Itoa(x.Pages),
		}
		for _, p := range x.Partitions {
			places = append(places, place{p.Partition, []string{
				strconv.Itoa(p.Partition), x.Name, p.State, strconv.FormatInt(p.Offset, 10), strconv.FormatInt(p.Lag, 10), strconv.FormatInt(p.Alerts, 10),
				strconv.FormatInt(p.Incidents, 10),
			}})
		}
	}
	for _, u := range n.Unheld {
		lag := "?"
		if u.Lag != nil {
			lag = strconv.FormatInt(*u.Lag, 10)
		}
		places = append(places, place{u.Partition, []string{strconv.Itoa(u.Partition), "nobody", "waits", strconv.FormatInt(u.Offset, 10), lag, "", ""}})
	}
	fmt.Fprintf(c.w.stdout, "journal %s, state %s\n\n", n.Journal, n.State)
	err := table(c.w.stdout, []string{"NODE", "ADDRESS", "VERSION", "STATE", "SEEN", "PARTITIONS", "LAG", "ALERTS", "INCIDENTS", "PAGES"}, rows)
	if err != nil {
		return err
	}
	slices.SortStableFunc(places, func(a, b place) int { return a.partition - b.partition })
	parts := make([][]string, len(places))
	for i, p := range places {
		parts[i] = p.row
	}
	err = c.section("Partitions", []string{"PARTITION", "NODE", "STATE", "OFFSET", "LAG", "ALERTS", "INCIDENTS"}, parts)
	if len(n.Unheld) > 0 {
		fmt.Fprintf(c.w.stderr, "nobody works on %d partitions: their alerts are accepted, and wait there\n", len(n.Unheld))
	}
	return err
}

// ago says how long ago something was.
func ago(d time.Duration) string {
	if d < time.Second {
		return "now"
	}
	return d.Truncate(time.Second).String() + " ago"
}

// runs says which partitions a node has, such as 0-3,7.
func runs(ps []client.Holding) string {
	numbers := make([]int, len(ps))
	for i, p := range ps {
		numbers[i] = p.Partition
	}
	slices.Sort(numbers)
	var parts []string
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		part := strconv.Itoa(numbers[i])
		if j > i {
			part += "-" + strconv.Itoa(numbers[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}
