package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A latency is a distribution of times, in milliseconds.
type latency struct{ p50, p90, p99, most float64 }

func quantiles(d []time.Duration) latency {
	if len(d) == 0 {
		return latency{}
	}
	slices.Sort(d)
	q := func(part float64) float64 {
		i := int(math.Ceil(part*float64(len(d)))) - 1
		return float64(d[min(max(i, 0), len(d)-1)].Microseconds()) / 1000
	}
	return latency{q(.5), q(.9), q(.99), q(1)}
}

// A spread is what the rounds of one figure came to.
type spread []float64

func (s spread) median() float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// ends says the lowest and the highest, or nothing of a single round.
func (s spread) ends() string {
	if len(s) < 2 {
		return ""
	}
	return number(slices.Min(s)) + " .. " + number(slices.Max(s))
}

// number writes v with three digits that matter, and commas between thousands.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "none"
	case a >= 1000:
		return commas(strconv.FormatInt(int64(math.Round(v)), 10))
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// count writes a whole number with commas between thousands.
func count(n int) string { return commas(strconv.Itoa(n)) }

func commas(digits string) string {
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}
