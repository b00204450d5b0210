package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat"

	"github.com/gcsync/gcsync/bench/internal/harness"
)

// In the documents, what lies between <!-- bench:NAME --> and <!-- /bench:NAME --> is written by the report, so that every
// number in them comes from one run.

// shownInDocs are the pictures that the documents show.
var shownInDocs = []string{"throughput", "handoff", "worst-wait", "fairness", "dollars", "timeline-gcsync", "timeline-peer"}

// document writes the figures and the pictures of the documents below root.
func (r *report) document(root string) error {
	blocks := r.blocks()
	for _, name := range []string{"README.md", filepath.Join("docs", "performance.md")} {
		path := filepath.Join(root, name)
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		filled, err := fill(string(text), blocks)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(path, []byte(filled), 0o644); err != nil {
			return err
		}
	}
	pictures, err := r.pictures()
	if err != nil {
		return err
	}
	dir := filepath.Join(root, "docs", "img")
	errs := []error{os.MkdirAll(dir, 0o755)}
	for _, p := range pictures {
		if slices.Contains(shownInDocs, p.Name) {
			errs = append(errs, os.WriteFile(filepath.Join(dir, p.Name+".svg"), []byte(p.SVG), 0o644))
		}
	}
	return errors.Join(errs...)
}

func (r *report) blocks() map[string]string {
	return map[string]string{
		"where":     r.where(),
		"claims":    r.claimTable(),
		"costs":     r.costs(),
		"contended": r.table("contended"),
		"scenarios": r.scenarioTables(),
		"client":    r.client,
		"growth":    r.growth(),
		"scale":     harness.ScaleTable(r.scale),
	}
}

// fill puts the blocks between their marks. Each mark must have its end; a block without a mark is not shown there.
func fill(text string, blocks map[string]string) (string, error) {
	for name, block := range blocks {
		begin, end := fmt.Sprintf("<!-- bench:%s -->\n", name), fmt.Sprintf("<!-- /bench:%s -->", name)
		before, rest, found := strings.Cut(text, begin)
		if !found {
			continue
		}
		_, after, found := strings.Cut(rest, end)
		if !found {
			return "", fmt.Errorf("%q has no end", strings.TrimSpace(begin))
		}
		text = before + begin + strings.TrimSpace(block) + "\n" + end + after
	}
	return text, nil
}

// where says what was measured where, and by which command.
func (r *report) where() string {
	by := "`go run ./bench report -docs`"
	if !r.many {
		by = "`go run ./bench report -docs -quick`, the short form: five seconds a line, too few to tell who is fair"
	}
	return fmt.Sprintf("Measured on %s, on %s, by %s. The service: %s.",
		r.begun.UTC().Format("2 January 2006"), machine(), by, harness.Describe(service))
}

// machine says what this machine is called by those who sell it, where the system tells.
func machine() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if key, model, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(model) + ", " + harness.Machine()
		}
	}
	return harness.Machine()
}

func (r *report) claimTable() string {
	var b strings.Builder
	b.WriteString("| claim | measured | |\n|---|---|---|\n")
	for _, c := range r.claims() {
		verdict := "holds"
		if !c.Holds {
			verdict = "**does not hold**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", c.Text, c.Found, verdict)
	}
	return b.String()
}

// costs is what gcsync does and costs in the scenarios that tell most.
func (r *report) costs() string {
	var b strings.Builder
	b.WriteString("| scenario | clients x goroutines | hold | acquisitions/s | Lock p50 | hand-off p50 / p99 | fairness (Jain) | requests per acquisition (A, B, free) | $ per million |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|\n")
	for _, res := range r.of(func(res *harness.Result) bool {
		return res.Lock == ours && res.PerSecond != nil && (!scenario(res.Scenario).Extra)
	}) {
		handoffs := "-"
		if res.HandoffP50 != nil {
			handoffs = format(res.HandoffP50, 0) + " / " + format(res.HandoffP99, 0) + " ms"
		}
		fmt.Fprintf(&b, "| `%s` | %d x %d | %g ms | %s | %s ms | %s | %s | %s, %s, %s | %s |\n", res.Scenario, res.Procs, res.Goroutines,
			res.HoldMS, format(res.PerSecond, 2), format(res.WaitP50, 0), handoffs, format(res.Jain, 3), format(res.ClassA, 2),
			format(res.ClassB, 1), format(res.Free, 1), format(res.USD, 2))
	}
	return b.String()
}

// table is all results of a scenario.
func (r *report) table(name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(heads, " | "), strings.Repeat("---|", len(heads)))
	for _, res := range r.of(func(res *harness.Result) bool { return res.Scenario == name }) {
		for _, c := range rowOf(res).Cells {
			if c.Bad {
				c.Text = "**" + c.Text + "**"
			}
			b.WriteString("| " + c.Text + " ")
		}
		b.WriteString("|\n")
	}
	return b.String()
}

func (r *report) scenarioTables() string {
	var b strings.Builder
	for _, s := range r.sections() {
		if s.Name != "contended" {
			fmt.Fprintf(&b, "### %s\n%s\n\n%s\n", s.Name, strings.ToUpper(s.About[:1])+s.About[1:], r.table(s.Name))
		}
	}
	return b.String()
}

// growth is how what gcsync costs grows with the number of clients.
func (r *report) growth() string {
	var b strings.Builder
	b.WriteString("| clients | acquisitions/s | requests per acquisition | of class A | of class B | $ per million | longest wait, s |\n|---|---|---|---|---|---|---|\n")
	results := r.sweep(ours)
	for _, res := range results {
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %s | %s |\n", res.Procs, format(res.PerSecond, 2), format(requests(res), 1),
			format(res.ClassA, 2), format(res.ClassB, 1), format(res.USD, 2), format(seconds(res.WaitMax), 1))
	}
	exponent := func(y func(*harness.Result) *float64) string {
		var x, logs []float64
		for _, res := range results {
			if v := y(res); res.Procs >= 2 && v != nil && *v > 0 { // alone, the lock is kept and costs nothing
				x, logs = append(x, math.Log(float64(res.Procs))), append(logs, math.Log(*v))
			}
		}
		if len(x) < 2 {
			return "-"
		}
		_, slope := stat.LinearRegression(x, logs, nil, false)
		return fmt.Sprintf("%.2f", slope)
	}
	fmt.Fprintf(&b, "| exponent, from 2 clients on | %s | %s | %s | %s | %s | %s |\n",
		exponent(func(r *harness.Result) *float64 { return r.PerSecond }), exponent(requests),
		exponent(func(r *harness.Result) *float64 { return r.ClassA }), exponent(func(r *harness.Result) *float64 { return r.ClassB }),
		exponent(func(r *harness.Result) *float64 { return r.USD }), exponent(worstWait))
	return b.String()
}
