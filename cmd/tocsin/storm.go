package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"tocsin/internal/app"
	"tocsin/internal/client"
)

// A storming is what storm was told to do.
type storming struct {
	connection
	plan         cascadePlan
	rate         int
	resolveAfter time.Duration
	wait         time.Duration
	really       string
	sourceToken  string
	mustMajor    bool // --wait was given: no candidate is a no
}

// storm sends a cascade for demonstration and load.
func (w *world) storm() *cobra.Command {
	s := &storming{connection: connection{w: w}}
	cmd := &cobra.Command{
		Use:   "storm",
		Short: "Send a realistic cascade, for demonstration and load",
		Long: `Let all hosts of one region go down, rack by rack, and with them the services that
lived there and those that need them. The alerts go by the Alertmanager door, as
Prometheus sends them; the same --seed gives the same storm.

With a token of the API it waits for the major candidate that comes of it, and
says how long after the threshold it was proposed. The door's token is found as
"tocsin send" finds it, but by --source-token or TOCSIN_SOURCE_TOKEN.

It pages people. So it only goes to a server on this machine; for another one its
host must be typed once more with --yes-really.

Exit code: 0 sent, 1 refused, or no candidate within --wait where that was given,
2 wrong use or no server.`,
		Example: `  tocsin storm
  tocsin storm --hosts 200 --services 12 --over 1m --resolve-after 2m
  tocsin storm --rate 2000 --over 1m
  tocsin storm --url https://staging.example.org --yes-really staging.example.org`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	s.addServer(f)
	f.StringVar(&s.token, "token", "", "token of the API, to wait for the candidate (TOCSIN_TOKEN)")
	f.StringVar(&s.sourceToken, "source-token", "", "token of the source of kind alertmanager (TOCSIN_SOURCE_TOKEN)")
	f.BoolVar(&s.json, "json", false, "print one JSON document at the end, and no progress")
	f.StringVar(&s.plan.Region, "region", "eu-west", "the region that is lost")
	f.IntVar(&s.plan.Hosts, "hosts", 25, "hosts that go down")
	f.IntVar(&s.plan.Services, "services", 5, "services that live on them")
	f.Uint64Var(&s.plan.Seed, "seed", 1, "another number, another storm")
	f.DurationVar(&s.plan.Over, "over", 20*time.Second, "how long it takes")
	f.IntVar(&s.rate, "rate", 0, "alerts a second: what the storm leaves free is filled up with repeats of what fires")
	f.DurationVar(&s.resolveAfter, "resolve-after", 0, "end all alerts so long after the last one; 0: they end by themselves after the server's resolve time")
	f.DurationVar(&s.wait, "wait", 10*time.Second, "longest wait for the candidate after the last alert; 0: do not look for one")
	f.StringVar(&s.really, "yes-really", "", "host of a server that is not on this machine")
	cmd.RunE = does(func(ctx context.Context, _ []string) error {
		s.mustMajor = cmd.Flags().Changed("wait") && s.wait > 0
		return s.run(ctx)
	})
	return cmd
}

const (
	maxHosts    = 100_000
	maxServices = 1_000
	maxRate     = 1_000_000
	maxOver     = 24 * time.Hour
)

// checked says what of the flags makes no storm, or one that must not be.
func (s *storming) checked() error {
	p := s.plan
	switch {
	case p.Hosts < 1 || p.Hosts > maxHosts:
		return wrongUse("--hosts %d: from 1 to %d", p.Hosts, maxHosts)
	case p.Services < 1 || p.Services > min(p.Hosts, maxServices):
		return wrongUse("--services %d: from 1 to as many as there are hosts, at most %d", p.Services, maxServices)
	case p.Over <= 0 || p.Over > maxOver:
		return wrongUse("--over %s: longer than nothing, at most %s", p.Over, maxOver)
	case s.rate < 0 || s.rate > maxRate:
		return wrongUse("--rate %d: from 0 to %d", s.rate, maxRate)
	case s.wait < 0 || s.resolveAfter < 0:
		return wrongUse("--wait and --resolve-after: a length of time, or 0")
	case strings.TrimSpace(p.Region) == "":
		return wrongUse("--region: it needs a name")
	}
	return s.mayStorm()
}

// mayStorm keeps a storm from a server that somebody relies on.
func (s *storming) mayStorm() error {
	if loopback(s.address()) {
		return nil
	}
	cl, err := s.clientWith("")
	if err != nil {
		return err
	}
	if s.really != cl.Host() {
		return wrongUse("%s is not on this machine, and a storm pages people: if it is meant, add --yes-really %s", cl.Host(), cl.Host())
	}
	return nil
}

func (s *storming) run(ctx context.Context) error {
	err := s.checked()
	if err != nil {
		return err
	}
	door, desk, err := s.clients()
	if err != nil {
		return err
	}
	st := newTempest(cascade(s.plan), door, s.rate, s.say)
	watch := &lookout{desk: desk, region: s.plan.Region}
	if desk != nil && s.wait > 0 {
		err = watch.begin(ctx)
		if err != nil {
			s.say("not waiting for a candidate: %s", err)
			desk = nil
		}
	}
	s.say("%s of %s lose %s: %s over %s", count(s.plan.Services, "service"), s.plan.Region, count(s.plan.Hosts, "host"), count(len(st.blows), "alert"), s.plan.Over)
	g, within := errgroup.WithContext(ctx)
	over := make(chan struct{})
	g.Go(func() error {
		defer close(over)
		return s.blow(within, st)
	})
	if desk != nil && s.wait > 0 {
		g.Go(func() error { return watch.look(within, over, s.wait) })
	}
	err = g.Wait()
	if err != nil {
		return fmt.Errorf("storm after %s: %w", count(st.sent, "alert"), err)
	}
	return s.conclude(st, watch, desk != nil && s.wait > 0)
}

// blow sends the storm, and where that is wanted its end.
func (s *storming) blow(ctx context.Context, st *tempest) error {
	err := st.blow(ctx, s.plan.Over)
	if err != nil || s.resolveAfter == 0 {
		return err
	}
	err = pause(ctx, s.resolveAfter)
	if err != nil {
		return err
	}
	return st.calm(ctx)
}

// clients returns one for the door and one for the API; the latter is nil where there is no token for it.
func (s *storming) clients() (door, desk *client.Client, err error) {
	api, err := s.given("TOCSIN_TOKEN")
	if err != nil {
		return nil, nil, err
	}
	source := s.sourceToken
	if source == "" {
		source = s.w.env("TOCSIN_SOURCE_TOKEN")
	}
	if source == "" {
		source, err = s.fromStarter("alertmanager token", func(set app.Keyring) string {
			return set.Sender(doorAlertmanager, "")
		})
		if err != nil {
			return nil, nil, err
		}
	}
	if api == "" && s.wait > 0 {
		api, err = s.fromStarter("token", app.Keyring.Robot)
		if err != nil {
			return nil, nil, err
		}
	}
	door, err = s.clientWith(source)
	if err != nil || api == "" {
		return door, nil, err
	}
	desk, err = s.clientWith(api)
	return door, desk, err
}

// say prints a line of progress.
func (s *storming) say(format string, args ...any) {
	if !s.json {
		fmt.Fprintln(s.w.stdout, clean(fmt.Sprintf(format, args...)))
	}
}

// A bulletin is what storm prints with --json.
type bulletin struct {
	Alerts   int      `json:"alerts"`  // distinct ones that were accepted
	Sent     int      `json:"sent"`    // repeats and ends included
	Refused  int      `json:"refused"` // by the server
	Posts    int      `json:"posts"`
	TookMS   int64    `json:"took_ms"`
	SlowMS   float64  `json:"slowest_post_ms"`
	MajorRaw any      `json:"major,omitempty"`
	AfterMS  *float64 `json:"threshold_to_candidate_ms,omitempty"`
}

// conclude says what came of it.
func (s *storming) conclude(st *tempest, watch *lookout, looked bool) error {
	b := bulletin{Alerts: st.begun, Sent: st.sent, Refused: st.refused, Posts: st.posts, TookMS: st.took.Milliseconds(), SlowMS: ms(st.slowest)}
	s.say("%s accepted in %s, %.1fs, slowest answer %.1f ms", count(st.sent, "alert"), count(st.posts, "POST"), st.took.Seconds(), ms(st.slowest))
	if watch.found != nil {
		b.MajorRaw = watch.found.Raw
		line := fmt.Sprintf("%s %s: %s (%s)", watch.found.ID, watch.found.State, watch.found.Title, measured(watch.found.Measures))
		if reached, reason, known := st.threshold(*watch.found); known {
			after := watch.seenAt.Sub(reached)
			b.AfterMS = new(ms(after))
			line += fmt.Sprintf(", shown %.0f ms after the alert went out that made it %s", ms(after), reason)
		}
		s.say("%s", line)
		s.say("decide it: tocsin major confirm %s, or tocsin major reject %s", watch.found.ID, watch.found.ID)
	} else if looked {
		s.say("no candidate for region %s within %s%s", s.plan.Region, s.wait, watch.whyNot())
	}
	if s.json {
		err := printJSON(s.w.stdout, b)
		if err != nil {
			return err
		}
	}
	if st.refused > 0 {
		return fmt.Errorf("storm: %s refused: %s", count(st.refused, "alert"), st.why)
	}
	if looked && watch.found == nil && s.mustMajor {
		return errors.New("storm: no major candidate came of it")
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
