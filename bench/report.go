package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// Prices of the operations of a regional bucket of class STANDARD, in US dollars per million. Deletes and failed calls
// are free of charge. https://cloud.google.com/storage/pricing#operations-pricing
const (
	priceClassA = 5.00
	priceClassB = 0.40
)

// A result is one line. A nil number is one that does not exist there.
type result struct {
	Scenario     string   `json:"scenario"`
	Lock         string   `json:"lock"`
	Procs        int      `json:"procs"`
	Goroutines   int      `json:"goroutines"`
	HoldMS       float64  `json:"hold_ms"`
	Seconds      float64  `json:"seconds"`
	Acquisitions int64    `json:"acquisitions"`
	PerSecond    float64  `json:"acquisitions_per_s"`
	HandoffP50   *float64 `json:"handoff_ms_p50"`
	HandoffP99   *float64 `json:"handoff_ms_p99"`
	WaitMax      float64  `json:"wait_ms_max"`
	Jain         float64  `json:"jain"`
	ClassA       float64  `json:"class_a_per_acq"`
	ClassB       float64  `json:"class_b_per_acq"`
	Free         float64  `json:"free_per_acq"`
	Throttled    float64  `json:"throttled_per_acq"`
	USD          float64  `json:"usd_per_million"`
	Overlaps     int64    `json:"overlaps"`
	Regressions  int64    `json:"token_regressions"`
}

// newResult sums up what the referee of a finished run has seen; nil if that was no acquisition.
func newResult(lock string, s scenario, r *referee) *result {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.acquisitions == 0 && r.overlaps == 0 && r.regressions == 0 {
		return nil
	}
	n := float64(max(r.acquisitions, 1))
	per := func(last, first int64) float64 { return float64(last-first) / n }
	seconds := r.last.Sub(r.first).Seconds()
	res := &result{
		Scenario:     s.name,
		Lock:         lock,
		Procs:        s.procs,
		Goroutines:   s.goroutines,
		HoldMS:       milliseconds(s.hold),
		Seconds:      round(seconds),
		Acquisitions: r.acquisitions,
		WaitMax:      milliseconds(r.longest),
		ClassA:       per(r.lastUsage.ClassA, r.firstUsage.ClassA),
		ClassB:       per(r.lastUsage.ClassB, r.firstUsage.ClassB),
		Free:         per(r.lastUsage.Free, r.firstUsage.Free),
		Throttled:    round(per(r.lastUsage.Throttled, r.firstUsage.Throttled)),
		Overlaps:     r.overlaps,
		Regressions:  r.regressions,
	}
	if r.acquisitions > 0 {
		res.PerSecond, res.Jain = round(n/seconds), round(r.jain())
	}
	res.USD = round(res.ClassA*priceClassA + res.ClassB*priceClassB)
	res.ClassA, res.ClassB, res.Free = round(res.ClassA), round(res.ClassB), round(res.Free)
	if len(r.handoffs) > 0 && len(r.players) > 1 {
		p50, p99 := milliseconds(percentile(r.handoffs, 0.50)), milliseconds(percentile(r.handoffs, 0.99))
		res.HandoffP50, res.HandoffP99 = &p50, &p99
	}
	return res
}

func milliseconds(d time.Duration) float64 { return round(float64(d) / float64(time.Millisecond)) }

// round keeps what a reader can use: four decimals.
func round(x float64) float64 { return math.Round(x*1e4) / 1e4 }

// A report takes results one by one.
type report interface{ add(*result) error }

// lines writes each result as a line of JSON.
type lines struct{ w io.Writer }

func (l *lines) add(res *result) error { return json.NewEncoder(l.w).Encode(res) }

// table writes the results as lines of a table, under its head.
type table struct {
	w     io.Writer
	about string // what was measured where
	begun bool
}

// columns of the table, in which head is the head. A negative width aligns to the left.
var columns = []struct {
	width int
	text  func(*result) string
}{
	{-18, func(r *result) string { return r.Scenario }},
	{-6, func(r *result) string { return r.Lock }},
	{9, func(r *result) string { return fmt.Sprintf("%d x %d", r.Procs, r.Goroutines) }},
	{6, func(r *result) string { return number(r.HoldMS, 0) }},
	{7, func(r *result) string { return number(r.PerSecond, 2) }},
	{6, func(r *result) string { return optional(r.HandoffP50) }},
	{7, func(r *result) string { return optional(r.HandoffP99) }},
	{7, func(r *result) string { return number(r.WaitMax, 0) }},
	{5, func(r *result) string { return number(r.Jain, 3) }},
	{5, func(r *result) string { return number(r.ClassA, 2) }},
	{6, func(r *result) string { return number(r.ClassB, 2) }},
	{7, func(r *result) string { return number(r.Free, 2) }},
	{5, func(r *result) string { return number(r.Throttled, 2) }},
	{6, func(r *result) string { return number(r.USD, 2) }},
	{6, func(r *result) string { return fmt.Sprint(r.Overlaps) }},
	{6, func(r *result) string { return fmt.Sprint(r.Regressions) }},
}

const head = `                              clients    hold              hand-off ms     wait          requests per acq.                      over-   token
scenario            lock          x g      ms    acq/s     p50      p99      max   jain      A       B     free    429     $/M    laps   regr.`

func number(x float64, decimals int) string { return fmt.Sprintf("%.*f", decimals, x) }

func optional(x *float64) string {
	if x == nil {
		return "-"
	}
	return number(*x, 1)
}

func (t *table) add(res *result) error {
	var b strings.Builder
	if !t.begun {
		t.begun = true
		fmt.Fprintf(&b, "%s\n\n%s\n", t.about, head)
	}
	for i, c := range columns {
		if i > 0 {
			b.WriteString("  ")
		}
		fmt.Fprintf(&b, "%*s", c.width, c.text(res))
	}
	b.WriteByte('\n')
	_, err := io.WriteString(t.w, b.String())
	return err
}
