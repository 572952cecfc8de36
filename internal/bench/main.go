package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// A scenario measures one or more rows of the table.
type scenario struct {
	number int
	what   string
	run    func(ctx context.Context, b *bench) ([]row, error)
	shared bool // it needs Kafka and PostgreSQL
}

func scenarios() []scenario {
	return []scenario{
		{1, "accepted alerts, 64 a POST, 8 connections", acceptBatches, false},
		{2, "one alert a POST, 64 connections", acceptSingles, false},
		{3, "state changes while accepting", applyStates, false},
		{4, "from POST to page, 100 incidents a second", pageLatency, false},
		{5, "10,000 incidents at once", pageBurst, false},
		{6, "1,000,000 open alerts, and a kill", memoryAndRestart, false},
		{7, "listing 100,000 alerts", listing, false},
		{8, "idle", idle, false},
		{9, "what the machine can do", probes, false},
		{10, "accepted alerts on Kafka and PostgreSQL", acceptShared, true},
		{11, "from POST to page on Kafka and PostgreSQL", pageShared, true},
		{12, "state changes on PostgreSQL", applyShared, true},
		{13, "catching up with Kafka", catchUp, true},
		{14, "two nodes, one of which goes", failOver, true},
		{15, "connections to a broker", connect, true},
		{16, "from POST to page while many ask for slow reports", pageBesideReports, true},
		{17, "what others see of a row that is kept locked", pageBesideLock, true},
	}
}

// A bench is what all scenarios share.
type bench struct {
	quick     bool          // fewer and shorter rounds: to see that it works, not to publish
	rounds    int           // of each comparison
	long      time.Duration // of one measured run
	dir       string        // where the servers keep their data; removed at the end
	binary    string        // the product
	peer      string        // Alertmanager; "": not installed
	ground    *ground       // Kafka and PostgreSQL; nil: there are none
	parts     bool          // start them
	say       func(format string, args ...any)
	patience  time.Duration // what may still be spent on waiting for a quiet machine
	disturbed float64       // most cores that anybody else used in a run of the scenario under way
}

// limit bounds the whole of it.
const limit = time.Hour

// run is main with the world as arguments. It returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	only := f.String("only", "", "numbers of scenarios, such as 1,4 or 10-15; all when empty")
	quick := f.Bool("quick", false, "short and small; prints the table and writes no file")
	out := f.String("out", "docs/figures.md", "file whose table is replaced; rows that were not measured stay as they are")
	dir := f.String("dir", "", "folder for the servers' data, on a real disk; the system's temporary folder when empty")
	binary := f.String("binary", "", "measure this binary instead of building ./cmd/tocsin")
	parts := f.Bool("parts", false, "start Kafka and PostgreSQL by parts/, for the scenarios from 10 on; else those of KAFKA_BROKERS and DATABASE_URL")
	rounds := f.Int("rounds", 0, "rounds of each comparison; 0: 3, with -quick 1")
	patience := f.Duration("patience", 3*time.Minute, "how long to wait in all for a quiet machine")
	if err := f.Parse(args); err != nil {
		return 2
	}
	chosen, err := choose(*only)
	if err != nil || f.NArg() > 0 || *rounds < 0 || *rounds > 20 {
		fmt.Fprintln(stderr, "bench:", errors.Join(err, errors.New("usage: bench [-quick] [-parts] [-only 1,4,10-15] [-rounds 3]")))
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	b := &bench{
		quick: *quick, rounds: cmp.Or(*rounds, 3), long: 5 * time.Second, binary: *binary, patience: *patience, parts: *parts,
		say: func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) },
	}
	if b.quick {
		b.rounds, b.long, b.patience = cmp.Or(*rounds, 1), 2*time.Second, min(*patience, 20*time.Second)
	}
	if err := b.measure(ctx, chosen, *dir, *out, stdout); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

// choose returns the scenarios whose numbers are listed, in their own order.
func choose(only string) ([]scenario, error) {
	if only == "" {
		return scenarios(), nil
	}
	wanted := map[int]bool{}
	for word := range strings.SplitSeq(only, ",") {
		from, to, isRange := strings.Cut(word, "-")
		if !isRange {
			to = from
		}
		first, err := strconv.Atoi(strings.TrimSpace(from))
		last, err2 := strconv.Atoi(strings.TrimSpace(to))
		if err != nil || err2 != nil || first < 1 || last < first || last > len(scenarios()) {
			return nil, fmt.Errorf("-only %s: %q is no number of a scenario (1 to %d), nor a range of them", only, word, len(scenarios()))
		}
		for n := first; n <= last; n++ {
			wanted[n] = true
		}
	}
	return slices.DeleteFunc(scenarios(), func(s scenario) bool { return !wanted[s.number] }), nil
}

// measure runs the scenarios and writes what they came to, also when a later one fails.
func (b *bench) measure(ctx context.Context, chosen []scenario, dir, out string, stdout io.Writer) (err error) {
	b.dir, err = os.MkdirTemp(dir, "bench-")
	if err != nil {
		return fmt.Errorf("folder for data: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if kind := filesystem(b.dir); kind == "tmpfs" || kind == "ramfs" {
		return fmt.Errorf("folder for data %s is memory (%s), where nothing is ever made durable: name one on a disk by -dir", b.dir, kind)
	}
	if b.binary == "" {
		b.binary = filepath.Join(b.dir, "tocsin")
		b.say("building ./cmd/tocsin")
		built, err := exec.CommandContext(ctx, "go", "build", "-o", b.binary, "./cmd/tocsin").CombinedOutput()
		if err != nil {
			return fmt.Errorf("build ./cmd/tocsin: %w\n%s", err, built)
		}
	}
	b.peer, err = exec.LookPath("prometheus-alertmanager")
	if err != nil {
		b.say("prometheus-alertmanager is not installed: compared with what was measured of it earlier")
	}
	stop, err := b.findGround(ctx, chosen)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	rows, errs := b.runAll(ctx, chosen)
	machine := describeMachine(b.dir)
	if b.quick {
		fmt.Fprintln(stdout, render(machine, rows))
	} else if len(rows) > 0 {
		errs = append(errs, publish(out, machine, rows))
	}
	return errors.Join(errs...)
}

// findGround finds out where Kafka and PostgreSQL are, or starts them, where a scenario needs them. stop ends what was started.
func (b *bench) findGround(ctx context.Context, chosen []scenario) (stop func() error, err error) {
	stop = func() error { return nil }
	if !slices.ContainsFunc(chosen, func(s scenario) bool { return s.shared }) {
		return stop, nil
	}
	brokers, dsn := os.Getenv("KAFKA_BROKERS"), os.Getenv("DATABASE_URL")
	if b.parts {
		b.say("starting Kafka and PostgreSQL: %s", strings.Join(partSettings("..."), ", "))
		brokers, dsn, stop, err = startParts(ctx, b.dir)
		if err != nil {
			return nil, err
		}
	}
	b.ground, err = newGround(brokers, dsn)
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return stop, nil
}

// runAll runs the scenarios, also when an earlier one fails.
func (b *bench) runAll(ctx context.Context, chosen []scenario) (rows []row, errs []error) {
	for _, s := range chosen {
		began := time.Now()
		b.say("%d. %s", s.number, s.what)
		if s.shared && b.ground == nil {
			b.say("   left out: it needs -parts, or KAFKA_BROKERS and DATABASE_URL")
			continue
		}
		b.disturbed = 0
		got, err := s.run(ctx, b)
		if err != nil {
			errs = append(errs, fmt.Errorf("scenario %d, %s: %w", s.number, s.what, err))
			b.say("   failed: %v", err)
		}
		for i := range got {
			got[i].disturbed = b.disturbed
			if s.shared && b.parts {
				got[i].flags = " -parts"
			}
			b.say("   %s: %s", got[i].what, got[i].measured)
		}
		rows = append(rows, got...)
		b.say("   %.0f s", time.Since(began).Seconds())
		if ctx.Err() != nil {
			break
		}
	}
	return rows, errs
}
