package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tocsin/internal/app"
	"tocsin/internal/client"
)

// A sending is what send was told to do.
type sending struct {
	connection
	door        string
	source      string
	labels      []string
	annotations []string
	summary     string
	severity    string
	key         string
	resolve     bool
	file        string
	dryRun      bool
}

// The doors that send knows.
const (
	doorAlertmanager = "alertmanager"
	doorPagerDuty    = "pagerduty"
	doorJSON         = "json"
)

// send posts alerts, as a sender would.
func (w *world) send() *cobra.Command {
	s := &sending{connection: connection{w: w}}
	cmd := &cobra.Command{
		Use:   "send [ALERTNAME] [LABEL=VALUE]...",
		Short: "Post alerts to a running server",
		Long: `Post one alert made of flags, or many from a file, and say what was accepted. What
is accepted is durable.

--door says how: alertmanager (as Prometheus does), pagerduty (Events v2) or json
(POST /in/SOURCE, where the source's mapping says what the fields mean; labels
become fields of the body). --file takes JSON values one after the other, such as
JSON lines; an array stands for its items.

The token is the source's own: --token, --token-file, TOCSIN_SOURCE_TOKEN or
TOCSIN_TOKEN; with the starter set-up in ./data it is taken from there.

Exit code: 0 all accepted, 1 some or all refused, 2 wrong use or no server.`,
		Example: `  tocsin send DiskFull host=db-1 service=db-main --severity critical --summary "disk 98% full"
  tocsin send DiskFull host=db-1 service=db-main --severity critical --resolve
  tocsin send --file alerts.jsonl --dry-run
  tocsin send --door pagerduty --key disk-db-1 --summary "disk full" host=db-1
  tocsin send --door json --source scripts check=disk host=db-1 state=bad level=critical message="disk full"`,
	}
	f := cmd.Flags()
	s.addServer(f)
	f.StringVar(&s.token, "token", "", "the source's token, or its routing key")
	f.BoolVar(&s.json, "json", false, "print one JSON document")
	f.StringVar(&s.door, "door", doorAlertmanager, "alertmanager, pagerduty or json")
	f.StringVar(&s.source, "source", "", "name of the source: needed by --door json")
	f.StringArrayVarP(&s.labels, "label", "l", nil, "label=value; may stand many times")
	f.StringArrayVar(&s.annotations, "annotation", nil, "name=value; may stand many times")
	f.StringVar(&s.summary, "summary", "", "one line for people")
	f.StringVar(&s.severity, "severity", "", "critical, error, warning or info")
	f.StringVar(&s.key, "key", "", "the alert's identity (pagerduty: dedup_key)")
	f.BoolVar(&s.resolve, "resolve", false, "it has ended")
	f.StringVarP(&s.file, "file", "f", "", "file with alerts; - is the standard input")
	f.BoolVar(&s.dryRun, "dry-run", false, "only say what would be made of it")
	s.completions(cmd)
	cmd.RunE = does(s.run)
	return cmd
}

func (s *sending) completions(cmd *cobra.Command) {
	for flag, words := range map[string][]string{
		"door": {doorAlertmanager, doorPagerDuty, doorJSON}, "severity": {"critical", "error", "warning", "info"},
	} {
		err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
		_ = err // the flags stand above
	}
}

func (s *sending) run(ctx context.Context, args []string) error {
	values, closeFile, err := s.values(args)
	if err != nil {
		return err
	}
	defer closeFile()
	secret, err := s.secret()
	if err != nil {
		return err
	}
	bearer := secret
	if s.door == doorPagerDuty {
		bearer = "" // its key stands in the body
	}
	cl, err := s.clientWith(bearer)
	if err != nil {
		return err
	}
	out := outcome{Events: []string{}, Keys: []string{}, Errors: []string{}}
	switch s.door {
	case doorAlertmanager:
		err = s.batches(ctx, cl, values, &out)
	case doorPagerDuty:
		err = s.events(ctx, cl, values, &out, secret)
	case doorJSON:
		err = s.bodies(ctx, cl, values, &out)
	}
	if printed := s.print(&out); printed != nil {
		return printed
	}
	if err != nil {
		return err
	}
	if out.Refused > 0 {
		return errSaid
	}
	return nil
}

// values returns what is to be sent: the file's, or the one alert that the flags say.
func (s *sending) values(args []string) (*stream, func(), error) {
	nothing := func() {}
	switch {
	case s.door != doorAlertmanager && s.door != doorPagerDuty && s.door != doorJSON:
		return nil, nothing, wrongUse("--door %s: one of alertmanager, pagerduty, json", s.door)
	case s.door == doorJSON && s.source == "":
		return nil, nothing, wrongUse("--door json needs --source, the name of the source in the configuration")
	case s.file == "":
		one, err := s.one(args)
		return newStream(strings.NewReader(string(one)), s.door != doorJSON), nothing, err
	case len(args)+len(s.labels)+len(s.annotations) > 0 || s.summary+s.severity+s.key != "" || s.resolve:
		return nil, nothing, wrongUse("--file says it all: no labels, summary, severity, key or --resolve beside it")
	case s.file == "-":
		return newStream(s.w.stdin, s.door != doorJSON), nothing, nil
	}
	f, err := os.Open(s.file)
	if err != nil {
		return nil, nothing, wrongUse("%s", err)
	}
	return newStream(f, s.door != doorJSON), func() { f.Close() }, nil
}

// secret finds the credential that the door wants.
func (s *sending) secret() (string, error) {
	token, err := s.given("TOCSIN_SOURCE_TOKEN", "TOCSIN_TOKEN")
	if err != nil || token != "" {
		return token, err
	}
	return s.fromStarter(s.door+" token", func(set app.Keyring) string {
		return set.Sender(s.door, s.source)
	})
}

const (
	maxBatch      = 64        // alerts of one POST: as many as Prometheus sends at once
	maxBatchBytes = 512 << 10 // below what the server takes
	tries         = 5         // of one POST that the server has no room for now
	usualWait     = time.Second
)

// batches posts alerts by the Alertmanager door.
func (s *sending) batches(ctx context.Context, cl *client.Client, values *stream, out *outcome) error {
	first := 1
	for {
		batch, err := values.batch(maxBatch, maxBatchBytes)
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			return nil
		}
		where := fmt.Sprintf("alerts %d to %d", first, first+len(batch)-1)
		err = s.post(ctx, where, len(batch), out, func() (client.Receipt, error) { return cl.SendAlerts(ctx, batch, s.dryRun) })
		if err != nil {
			return err
		}
		first += len(batch)
	}
}

// events posts events by the PagerDuty door, one at a time. One that says no routing_key gets ours.
func (s *sending) events(ctx context.Context, cl *client.Client, values *stream, out *outcome, key string) error {
	for n := 1; ; n++ {
		value, err := values.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		event, err := routed(value, key)
		if err != nil {
			return fmt.Errorf("event %d: %w", n, err)
		}
		err = s.post(ctx, fmt.Sprintf("event %d", n), 1, out, func() (client.Receipt, error) { return cl.SendEvent(ctx, event, s.dryRun) })
		if err != nil {
			return err
		}
	}
}

// routed puts key into an event that has none.
func routed(event json.RawMessage, key string) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	err := json.Unmarshal(event, &fields)
	if err != nil {
		return nil, wrongUse("it is no JSON object: %s", err)
	}
	if fields["routing_key"] != nil || key == "" {
		return event, nil
	}
	fields["routing_key"], err = json.Marshal(key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(fields)
}

// bodies posts whole bodies by the source's own door.
func (s *sending) bodies(ctx context.Context, cl *client.Client, values *stream, out *outcome) error {
	for n := 1; ; n++ {
		value, err := values.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		err = s.post(ctx, fmt.Sprintf("body %d", n), 1, out, func() (client.Receipt, error) { return cl.SendTo(ctx, s.source, value, s.dryRun) })
		if err != nil {
			return err
		}
	}
}

// post sends once, again where the server asks for patience, and notes what came of it. An error means that it is no use to go on.
func (s *sending) post(ctx context.Context, where string, n int, out *outcome, send func() (client.Receipt, error)) error {
	r, err := patiently(ctx, send)
	p, refused := errors.AsType[*client.Problem](err)
	switch {
	case refused && (p.Status == http.StatusBadRequest || p.Status == http.StatusRequestEntityTooLarge):
		out.Refused += n
		out.Errors = append(out.Errors, where+": "+p.Error())
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", where, err)
	}
	out.add(where, r)
	return nil
}

// patiently repeats what the server has no room for now: nothing of it was taken.
func patiently(ctx context.Context, send func() (client.Receipt, error)) (client.Receipt, error) {
	for try := 1; ; try++ {
		r, err := send()
		p, refused := errors.AsType[*client.Problem](err)
		if !refused || p.Status != http.StatusTooManyRequests && p.Status != http.StatusServiceUnavailable || try == tries {
			return r, err
		}
		wait := usualWait
		if p.Wait > 0 {
			wait = min(p.Wait, time.Minute)
		}
		if err := pause(ctx, wait); err != nil {
			return r, err
		}
	}
}

// An outcome is what became of all that was sent.
type outcome struct {
	Accepted int            `json:"accepted"`
	Refused  int            `json:"refused"`
	Events   []string       `json:"events,omitempty"`
	Keys     []string       `json:"keys,omitempty"`
	Errors   []string       `json:"errors,omitempty"`
	Meant    []client.Meant `json:"alerts,omitempty"` // of a dry run
	Control  string         `json:"control,omitempty"`
}

const maxListed = 10_000 // ids and reasons that are kept of one run

func (o *outcome) add(where string, r client.Receipt) {
	o.Accepted += r.Accepted
	o.Refused += r.Refused
	o.Events = bounded(append(o.Events, r.Events...))
	if r.Key != "" {
		o.Keys = bounded(append(o.Keys, r.Key))
	}
	if r.Detail != "" {
		o.Errors = append(o.Errors, where+": "+r.Detail)
	}
	for _, p := range r.Problems {
		o.Errors = append(o.Errors, where+": "+p.String())
	}
	if r.Also != "" {
		o.Errors = append(o.Errors, where+": items "+r.Also+" too")
	}
	o.Errors = bounded(o.Errors)
	o.Meant = bounded(append(o.Meant, r.Meant...))
	o.Control = r.Control
}

func bounded[T any](list []T) []T { return list[:min(len(list), maxListed)] }

// print says what was accepted, and what not and why.
func (s *sending) print(out *outcome) error {
	if s.json {
		return printJSON(s.w.stdout, out)
	}
	for _, e := range out.Errors {
		fmt.Fprintf(s.w.stderr, "tocsin: %s\n", clean(e))
	}
	if s.dryRun {
		return s.printMeant(out)
	}
	if out.Accepted == 0 && out.Refused == 0 {
		return nil // another error says why
	}
	line := "accepted " + count(out.Accepted, "alert")
	if out.Refused > 0 {
		line += ", refused " + count(out.Refused, "alert")
	}
	for _, key := range out.Keys {
		line += "\nkey " + clean(key)
	}
	_, err := fmt.Fprintln(s.w.stdout, line)
	return err
}

func (s *sending) printMeant(out *outcome) error {
	if out.Control != "" {
		fmt.Fprintf(s.w.stdout, "no alert, but: %s\n", clean(out.Control))
	}
	rows := make([][]string, len(out.Meant))
	for n, m := range out.Meant {
		rows[n] = []string{m.Status, m.Severity, short(m.Summary, 60), m.About, short(m.Key, 60), pairs(m.Labels)}
	}
	return s.printTable("alerts", false, []string{"STATUS", "SEVERITY", "SUMMARY", "ABOUT", "KEY", "LABELS"}, rows)
}
