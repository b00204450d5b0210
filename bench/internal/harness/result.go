package harness

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

// A Result is one line. A nil number is one that does not exist there.
type Result struct {
	Scenario     string   `json:"scenario"`
	Lock         string   `json:"lock"`
	Procs        int      `json:"procs"`
	Goroutines   int      `json:"goroutines"`
	HoldMS       float64  `json:"hold_ms"`
	Seconds      *float64 `json:"seconds"`
	Acquisitions *int64   `json:"acquisitions"`
	PerSecond    *float64 `json:"acquisitions_per_s"`
	HandoffP50   *float64 `json:"handoff_ms_p50"`
	HandoffP99   *float64 `json:"handoff_ms_p99"`
	WaitMax      *float64 `json:"wait_ms_max"`
	Jain         *float64 `json:"jain"`
	ClassA       *float64 `json:"class_a_per_acq"`
	ClassB       *float64 `json:"class_b_per_acq"`
	Free         *float64 `json:"free_per_acq"`
	Throttled    *float64 `json:"throttled_per_acq"`
	USD          *float64 `json:"usd_per_million"`
	Overlaps     *int64   `json:"overlaps"`
	Regressions  *int64   `json:"token_regressions"`
	Lost         *int64   `json:"lost"`
	Failed       *int64   `json:"failed"`
	Crashes      *int64   `json:"crashes"`
	RecoveryP50  *float64 `json:"recovery_ms_p50"`
	RecoveryMax  *float64 `json:"recovery_ms_max"`
	WaitP50      *float64 `json:"wait_ms_p50"`

	Unsupported bool      `json:"-"` // the lock has nothing of the kind
	Handoffs    []float64 `json:"-"` // all of them, in milliseconds, sorted
	Spans       []Span    `json:"-"` // who held it when
}

// newResult sums up what the referee of a finished run has seen; nil if that was nothing: it ended in the warm-up.
func newResult(b *bench, s Scenario, r *referee) *Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	measured := time.Since(r.from)
	if r.acquisitions == 0 && r.overlaps == 0 && r.regressions == 0 && (r.failures > 0 || measured < b.measure) {
		return nil
	}
	res := &Result{
		Scenario:     s.Name,
		Lock:         b.lock.Name(),
		Procs:        s.Procs,
		Goroutines:   s.Goroutines,
		HoldMS:       milliseconds(s.Hold),
		Acquisitions: &r.acquisitions,
		WaitMax:      some(milliseconds(r.longest)),
		Overlaps:     &r.overlaps,
		Regressions:  &r.regressions,
		Lost:         &r.lost,
		Failed:       &r.again,
		Spans:        r.spans,
	}
	if r.acquisitions > 0 {
		seconds := r.last.Sub(r.first).Seconds()
		res.Seconds, res.PerSecond = some(round(seconds)), some(round(float64(r.acquisitions)/seconds))
		res.WaitP50 = quantile(r.waited, 0.50)
		res.Jain = some(round(r.jain()))
		res.price(b.lock, r.lastUsage.minus(r.firstUsage), float64(r.acquisitions))
	} else {
		res.Seconds, res.PerSecond = some(round(b.measure.Seconds())), some(round(float64(r.grants)/b.measure.Seconds()))
	}
	if len(r.handoffs) > 0 && len(r.players) > 1 {
		res.HandoffP50, res.HandoffP99 = quantile(r.handoffs, 0.50), quantile(r.handoffs, 0.99)
		for _, h := range r.handoffs {
			res.Handoffs = append(res.Handoffs, milliseconds(h))
		}
	}
	if s.Crash > 0 {
		res.Crashes = &r.crashes
		if len(r.recoveries) > 0 {
			res.RecoveryP50, res.RecoveryMax = quantile(r.recoveries, 0.50), quantile(r.recoveries, 1)
		}
	}
	return res
}

// price says what n acquisitions cost.
func (r *Result) price(l Lock, u Usage, n float64) {
	if _, off := l.(OffBucket); off {
		return
	}
	per := func(requests int64) *float64 { return some(round(float64(requests) / n)) }
	r.ClassA, r.ClassB, r.Free, r.Throttled = per(u.ClassA), per(u.ClassB), per(u.Free), per(u.Throttled)
	r.USD = some(round(u.dollars() * 1e6 / n))
}

// Broken reports whether the lock did what no lock may do.
func (r *Result) Broken() bool {
	return r.Overlaps != nil && *r.Overlaps > 0 || r.Regressions != nil && *r.Regressions > 0
}

func some[T any](x T) *T { return &x }

func milliseconds(d time.Duration) float64 { return round(float64(d) / float64(time.Millisecond)) }

func quantile(samples []time.Duration, q float64) *float64 {
	return some(milliseconds(percentile(samples, q)))
}

// round keeps what a reader can use: four decimals.
func round(x float64) float64 { return math.Round(x*1e4) / 1e4 }

// A report takes results one by one.
type report interface{ add(*Result) error }

// lines writes each result as a line of JSON.
type lines struct{ w io.Writer }

func (l *lines) add(res *Result) error { return json.NewEncoder(l.w).Encode(res) }

// table writes the results as lines of a table, under its head.
type table struct {
	w     io.Writer
	about string // what was measured where
	begun bool
}

// columns of the table, with their heads of two lines. A negative width aligns to the left.
var columns = []struct {
	width       int
	above, head string
	text        func(*Result) string
}{
	{-19, "", "scenario", func(r *Result) string { return r.Scenario }},
	{-10, "", "lock", func(r *Result) string { return r.Lock }},
	{8, "clients", "x g", func(r *Result) string { return fmt.Sprintf("%d x %d", r.Procs, r.Goroutines) }},
	{6, "hold", "ms", func(r *Result) string { return number(&r.HoldMS, 0) }},
	{7, "", "acq/s", func(r *Result) string { return number(r.PerSecond, 2) }},
	{7, "hand-", "p50 ms", func(r *Result) string { return number(r.HandoffP50, 1) }},
	{7, "off", "p99 ms", func(r *Result) string { return number(r.HandoffP99, 1) }},
	{7, "wait", "p50 ms", func(r *Result) string { return number(r.WaitP50, 0) }},
	{7, "", "max ms", func(r *Result) string { return number(r.WaitMax, 0) }},
	{5, "", "jain", func(r *Result) string { return number(r.Jain, 3) }},
	{5, "per", "A", func(r *Result) string { return number(r.ClassA, 2) }},
	{6, "acqui-", "B", func(r *Result) string { return number(r.ClassB, 2) }},
	{6, "sition", "free", func(r *Result) string { return number(r.Free, 2) }},
	{6, "", "429", func(r *Result) string { return number(r.Throttled, 2) }},
	{6, "", "$/M", func(r *Result) string { return number(r.USD, 2) }},
	{5, "over-", "laps", func(r *Result) string { return count(r.Overlaps) }},
	{5, "token", "regr.", func(r *Result) string { return count(r.Regressions) }},
	{4, "", "lost", func(r *Result) string { return count(r.Lost) }},
	{6, "", "failed", func(r *Result) string { return count(r.Failed) }},
	{7, "", "crashes", func(r *Result) string { return count(r.Crashes) }},
	{8, "recovery", "max ms", func(r *Result) string { return number(r.RecoveryMax, 0) }},
}

func number(x *float64, decimals int) string {
	if x == nil {
		return "-"
	}
	return fmt.Sprintf("%.*f", decimals, *x)
}

func count(n *int64) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}

func (t *table) add(res *Result) error {
	var b strings.Builder
	if !t.begun {
		t.begun = true
		fmt.Fprintf(&b, "%s\n\n", t.about)
		row(&b, func(i int) string { return columns[i].above })
		row(&b, func(i int) string { return columns[i].head })
	}
	row(&b, func(i int) string { return columns[i].text(res) })
	_, err := io.WriteString(t.w, b.String())
	return err
}

func row(b *strings.Builder, text func(column int) string) {
	for i, c := range columns {
		if i > 0 {
			b.WriteString("  ")
		}
		fmt.Fprintf(b, "%*s", c.width, text(i))
	}
	b.WriteByte('\n')
}
