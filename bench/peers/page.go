package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"os"
	"strings"
	"time"

	"github.com/gcsync/gcsync/bench/internal/harness"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// A row is a line of a table.
type row struct {
	Ours  bool
	Cells []cell
}

type cell struct {
	Text string
	Bad  bool
}

var heads = []string{"lock", "clients", "hold ms", "acq/s", "hand-off p50 ms", "p99 ms", "wait p50 ms", "max ms", "Jain", "A", "B", "free",
	"429", "$/M", "overlaps", "token regr.", "lost", "failed", "crashes", "recovery max ms"}

func rowOf(r *harness.Result) row {
	cells := []cell{{Text: r.Lock}, {Text: fmt.Sprintf("%d x %d", r.Procs, r.Goroutines)}}
	number := func(x *float64, decimals int) { cells = append(cells, cell{Text: format(x, decimals)}) }
	count := func(n *int64, bad bool) {
		c := cell{Text: "-"}
		if n != nil {
			c = cell{fmt.Sprint(*n), bad && *n > 0}
		}
		cells = append(cells, c)
	}
	number(&r.HoldMS, 0)
	number(r.PerSecond, 2)
	number(r.HandoffP50, 1)
	number(r.HandoffP99, 1)
	number(r.WaitP50, 0)
	number(r.WaitMax, 0)
	number(r.Jain, 3)
	number(r.ClassA, 2)
	number(r.ClassB, 2)
	number(r.Free, 2)
	number(r.Throttled, 2)
	number(r.USD, 2)
	count(r.Overlaps, true)
	count(r.Regressions, true)
	count(r.Lost, true)
	count(r.Failed, true)
	count(r.Crashes, false)
	number(r.RecoveryMax, 0)
	return row{r.Lock == ours, cells}
}

func format(x *float64, decimals int) string {
	if x == nil {
		return "-"
	}
	return fmt.Sprintf("%.*f", decimals, *x)
}

// A section is a scenario and its results.
// sentence ends what is not a question with a full stop.
func sentence(text string) string {
	if strings.HasSuffix(text, "?") {
		return text
	}
	return text + "."
}

type section struct {
	Name, About string
	Rows        []row
}

func (r *report) sections() []section {
	var all []section
	for _, s := range harness.Scenarios {
		sec := section{Name: s.Name, About: sentence(s.About)}
		for _, res := range r.of(func(res *harness.Result) bool { return res.Scenario == s.Name }) {
			sec.Rows = append(sec.Rows, rowOf(res))
		}
		if len(sec.Rows) > 0 {
			all = append(all, sec)
		}
	}
	return all
}

// write writes the page, in place of the one before.
func (r *report) write(path string) error {
	pictures, err := r.pictures()
	if err != nil {
		return err
	}
	type drawn struct {
		About string
		SVG   template.HTML // made by us, of numbers
	}
	var svgs []drawn
	for _, p := range pictures {
		svgs = append(svgs, drawn{p.About, template.HTML(p.SVG)})
	}
	measured := make(map[string]bool)
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	for _, res := range r.results {
		measured[fmt.Sprint(res.Scenario, res.Procs, res.HoldMS)] = true
		if err := enc.Encode(res); err != nil {
			return err
		}
	}
	var text bytes.Buffer
	err = page.Execute(&text, map[string]any{
		"Service": harness.Describe(service), "Machine": harness.Machine(), "When": r.begun.UTC().Format(time.DateTime + " MST"),
		"Steps": len(measured), "All": len(r.steps),
		"Claims": r.claims(), "Pictures": svgs, "Tables": r.sections(), "Heads": heads, "Problems": r.problem,
		"JSON":   lines.String(),
		"Growth": r.growth(), "Scale": harness.ScaleTable(r.scale), "Client": r.client.String(),
	})
	if err != nil {
		return err
	}
	unfinished := path + ".tmp"
	if err := os.WriteFile(unfinished, text.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(unfinished, path)
}
