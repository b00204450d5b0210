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

// document writes the figures and the pictures of the documents below root. If something was not measured they stay as they
// are.
func (r *report) document(root string) error {
	blocks := r.blocks()
	for name, block := range blocks {
		if block == "" {
			return fmt.Errorf("the documents stay as they are: nothing was measured that belongs to %q", name)
		}
	}
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
		"claims":    r.claimTable().Markdown(),
		"costs":     r.costs().Markdown(),
		"contended": r.table("contended").Markdown(),
		"scenarios": r.scenarioTables(),
		"client":    r.client.String(),
		"growth":    r.growth().Markdown(),
		"scale":     harness.ScaleTable(r.scale).Markdown(),
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
	return fmt.Sprintf("Measured on %s, on %s, by `go run ./bench report -docs`. The service: %s.",
		r.begun.UTC().Format("2 January 2006"), machine(), harness.Describe(service))
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

func (r *report) claimTable() harness.Table {
	t := harness.Table{Heads: []string{"claim", "measured", ""}}
	for _, c := range r.claims() {
		verdict := "holds"
		if !c.Holds {
			verdict = "**does not hold**"
		}
		t.Rows = append(t.Rows, []string{c.Text, c.Found, verdict})
	}
	return t
}

// costs is what gcsync does and costs in the scenarios that tell most.
func (r *report) costs() harness.Table {
	t := harness.Table{Heads: []string{"scenario", "clients x goroutines", "hold", "acquisitions/s", "Lock p50", "hand-off p50 / p99",
		"fairness (Jain)", "requests per acquisition (A, B, free)", "$ per million"}}
	for _, res := range r.of(func(res *harness.Result) bool {
		return res.Lock == ours && res.PerSecond != nil && !scenario(res.Scenario).Extra
	}) {
		handoffs := "-"
		if res.HandoffP50 != nil {
			handoffs = format(res.HandoffP50, 0) + " / " + format(res.HandoffP99, 0) + " ms"
		}
		t.Rows = append(t.Rows, []string{"`" + res.Scenario + "`", fmt.Sprintf("%d x %d", res.Procs, res.Goroutines),
			fmt.Sprintf("%g ms", res.HoldMS), format(res.PerSecond, 2), format(res.WaitP50, 0) + " ms", handoffs, format(res.Jain, 3),
			strings.Join([]string{format(res.ClassA, 2), format(res.ClassB, 1), format(res.Free, 1)}, ", "), format(res.USD, 2)})
	}
	return t
}

// table is all results of a scenario.
func (r *report) table(name string) harness.Table {
	t := harness.Table{Heads: heads}
	for _, res := range r.of(func(res *harness.Result) bool { return res.Scenario == name }) {
		var cells []string
		for _, c := range rowOf(res).Cells {
			if c.Bad {
				c.Text = "**" + c.Text + "**"
			}
			cells = append(cells, c.Text)
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

func (r *report) scenarioTables() string {
	var b strings.Builder
	for _, s := range r.sections() {
		if s.Name != "contended" {
			fmt.Fprintf(&b, "### %s\n%s\n\n%s\n", s.Name, strings.ToUpper(s.About[:1])+s.About[1:], r.table(s.Name).Markdown())
		}
	}
	return b.String()
}

// growth is how what gcsync costs grows with the number of clients.
func (r *report) growth() harness.Table {
	columns := []struct {
		head     string
		decimals int
		of       func(*harness.Result) *float64
	}{
		{"acquisitions/s", 2, func(r *harness.Result) *float64 { return r.PerSecond }},
		{"requests per acquisition", 1, requests},
		{"of class A", 2, func(r *harness.Result) *float64 { return r.ClassA }},
		{"of class B", 1, func(r *harness.Result) *float64 { return r.ClassB }},
		{"$ per million", 2, func(r *harness.Result) *float64 { return r.USD }},
		{"longest wait, s", 1, func(r *harness.Result) *float64 { return seconds(r.WaitMax) }},
	}
	results := r.sweep(ours)
	t := harness.Table{Heads: []string{"clients"}}
	if len(results) == 0 {
		return t
	}
	for _, res := range results {
		t.Rows = append(t.Rows, []string{fmt.Sprint(res.Procs)})
	}
	t.Rows = append(t.Rows, []string{"exponent, from 2 clients on"}) // alone, the lock is kept and costs nothing
	for _, c := range columns {
		t.Heads = append(t.Heads, c.head)
		var x, y []float64
		for i, res := range results {
			v := c.of(res)
			t.Rows[i] = append(t.Rows[i], format(v, c.decimals))
			if res.Procs >= 2 && v != nil && *v > 0 {
				x, y = append(x, math.Log(float64(res.Procs))), append(y, math.Log(*v))
			}
		}
		exponent := "-"
		if len(x) >= 2 {
			_, slope := stat.LinearRegression(x, y, nil, false)
			exponent = fmt.Sprintf("%.2f", slope)
		}
		last := len(t.Rows) - 1
		t.Rows[last] = append(t.Rows[last], exponent)
	}
	return t
}
