package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"runtime"
	"strings"
	"time"
)

// A row is one line of the table.
type row struct {
	id        string // number of the scenario, and a letter where it has several rows
	what      string
	peer      string
	must, aim string
	measured  string // the median of the rounds
	spread    string // lowest .. highest
	verdict   verdict
	flags     string  // that the command needs besides the number, with a space before each
	disturbed float64 // most cores that anybody else used in a run that counted
}

// A verdict says whether a figure is good enough.
type verdict int

const (
	unjudged verdict = iota
	aimMet
	mustMet
	missed
	invalid // the rate does not count, because the lag stayed
)

func (v verdict) String() string {
	return [...]string{"", "aim met", "must met", "**missed**", "**does not count**"}[v]
}

func atLeast(v, must, aim float64) verdict {
	switch {
	case v >= aim:
		return aimMet
	case v >= must:
		return mustMet
	}
	return missed
}

func atMost(v, must, aim float64) verdict {
	if math.IsNaN(v) {
		return missed
	}
	return atLeast(-v, -must, -aim)
}

func worse(a, b verdict) verdict { return max(a, b) }

// unless takes a verdict back when a condition of the figure does not hold.
func (v verdict) unless(not bool) verdict {
	if not {
		return invalid
	}
	return v
}

// line is the row in Markdown, said when it was measured.
func (r row) line(day string) string {
	said := r.verdict.String()
	if r.disturbed > tolerated {
		r.spread += fmt.Sprintf(" (others used up to %.1f cores)", r.disturbed)
		if r.verdict != unjudged {
			said += ", disturbed"
		}
	}
	number := strings.TrimRight(r.id, "abc")
	cells := []string{r.id, r.what, r.peer, r.must, r.aim, r.measured, strings.Trim(r.spread, " ,/"), said, "`go run ./internal/bench" + r.flags + " -only " + number + "`", day}
	return "| " + strings.Join(cells, " | ") + " |"
}

const (
	begins = "<!-- bench begins -->"
	ends   = "<!-- bench ends -->"
	header = "| # | what | peer | must | aim | measured, median | lowest .. highest | | command | measured on |\n|---|---|---|---|---|---|---|---|---|---|"
)

// render returns the table with these rows.
func render(machine string, rows []row) string {
	lines := []string{machine, "", header}
	for _, r := range rows {
		lines = append(lines, r.line(today()))
	}
	return strings.Join(lines, "\n")
}

func today() string { return time.Now().UTC().Format(time.DateOnly) }

// introduction stands above the table where the file does not exist yet.
const introduction = `# Figures

` + begins + `
` + ends + `
`

// publish writes rows into the table of the file at path. Rows that were not measured now stay as they are.
func publish(path, machine string, rows []row) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = []byte(introduction), nil
	}
	if err != nil {
		return fmt.Errorf("figures: %w", err)
	}
	merged, err := merge(string(text), machine, rows)
	if err != nil {
		return fmt.Errorf("figures %s: %w", path, err)
	}
	err = os.WriteFile(path, []byte(merged), 0o644) //nolint:gosec // documentation is for everyone
	if err != nil {
		return fmt.Errorf("figures: %w", err)
	}
	return nil
}

// merge returns text with the table between its marks brought up to date.
func merge(text, machine string, rows []row) (string, error) {
	before, rest, ok := strings.Cut(text, begins)
	table, after, ok2 := strings.Cut(rest, ends)
	if !ok || !ok2 {
		return "", fmt.Errorf("it has no table between %s and %s", begins, ends)
	}
	lines := map[string]string{}
	for line := range strings.Lines(table) {
		id, isRow := rowID(line)
		if isRow {
			lines[id] = strings.TrimSpace(line)
		}
	}
	for _, r := range rows {
		lines[r.id] = r.line(today())
	}
	out := []string{before + begins, machine, "", header}
	for _, s := range scenarios() {
		for _, letter := range []string{"", "a", "b", "c"} {
			if line, ok := lines[fmt.Sprint(s.number)+letter]; ok {
				out = append(out, line)
			}
		}
	}
	return strings.Join(append(out, ends+after), "\n"), nil
}

// rowID returns the first cell of a row of the table; false for its head and for what is no row.
func rowID(line string) (string, bool) {
	cell, ok := strings.CutPrefix(line, "| ")
	cell, _, ok2 := strings.Cut(cell, " |")
	return cell, ok && ok2 && cell != "" && cell[0] >= '1' && cell[0] <= '9'
}

// describeMachine says in one line what the figures were measured on. It names no host and no path.
func describeMachine(dir string) string {
	cpu := ""
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				cpu = " (" + strings.TrimSpace(strings.TrimLeft(name, "\t :")) + ")"
				break
			}
		}
	}
	memory := ""
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kib int64
		if _, err := fmt.Sscanf(string(b), "MemTotal: %d kB", &kib); err == nil {
			memory = fmt.Sprintf(", %d GiB", (kib+1<<19)>>20)
		}
	}
	return fmt.Sprintf("%d cores%s%s, %s, %s/%s, %s; sender, provider and server on the same machine.", runtime.NumCPU(), cpu, memory, filesystem(dir), runtime.GOOS, runtime.GOARCH, runtime.Version())
}
