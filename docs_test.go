package gcsync_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"

	"github.com/gcsync/gcsync/tracing"
)

// The tables of docs/observability.md are those of package tracing, word for word.
func TestObservabilityIsDocumented(t *testing.T) {
	page, err := os.ReadFile("docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	for what, table := range map[string]string{"spans": spanTable(), "attributes": attributeTable(), "metrics": metricTable()} {
		if !strings.Contains(string(page), "\n\n"+table+"\n") {
			t.Errorf("docs/observability.md has not this table of %s:\n\n%s", what, table)
		}
	}
	for _, want := range []string{boundaryList(), tracing.Traceparent} {
		if !strings.Contains(string(page), want) {
			t.Errorf("docs/observability.md does not tell: %s", want)
		}
	}
}

func spanTable() string {
	b := "| span | attributes | what it is |\n|---|---|---|\n"
	for _, s := range tracing.Spans() {
		b += fmt.Sprintf("| `%s` | %s | %s |\n", s.Name, keyList(s.Keys), s.About)
	}
	return b
}

func attributeTable() string {
	b := "| attribute | values | what it holds |\n|---|---|---|\n"
	for _, a := range tracing.Attributes() {
		values := ""
		if len(a.Values) > 0 {
			values = "`" + strings.Join(a.Values, "` `") + "`"
		}
		b += fmt.Sprintf("| `%s` | %s | %s |\n", a.Key, values, a.About)
	}
	return b
}

func metricTable() string {
	b := "| metric | instrument | unit | attributes | what it counts |\n|---|---|---|---|---|\n"
	for _, m := range tracing.Metrics() {
		b += fmt.Sprintf("| `%s` | %s | `%s` | %s | %s |\n", m.Name, m.Kind, m.Unit, keyList(m.Keys), m.About)
	}
	return b
}

func keyList(keys []attribute.Key) string {
	var all []string
	for _, k := range keys {
		all = append(all, "`"+string(k)+"`")
	}
	return strings.Join(all, " ")
}

func boundaryList() string {
	var all []string
	for _, b := range tracing.Boundaries() {
		all = append(all, fmt.Sprint(b))
	}
	return strings.Join(all, ", ")
}

// The dashboard asks for metrics that there are, under the names that they have in Prometheus, and for all of them.
func TestDashboard(t *testing.T) {
	raw, err := os.ReadFile("docs/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(raw, &board); err != nil {
		t.Fatal(err)
	}
	asked := make(map[string]bool)
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			for _, name := range regexp.MustCompile(`gcsync_\w+`).FindAllString(target.Expr, -1) {
				if !label(name) {
					asked[name] = true
				}
			}
		}
	}
	for _, m := range tracing.Metrics() {
		name := prometheus(m)
		if !asked[name] {
			t.Errorf("no panel shows %s", name)
		}
		delete(asked, name)
	}
	for name := range asked {
		t.Errorf("a panel asks for %s: there is no such metric", name)
	}
}

// prometheus is what the metric is called there (https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/).
func prometheus(m tracing.Metric) string {
	name := strings.ReplaceAll(m.Name, ".", "_")
	switch m.Kind {
	case tracing.Histogram:
		return name + "_seconds_bucket"
	case tracing.Counter:
		return name + "_total"
	}
	return name
}

// label reports whether the name is that of an attribute.
func label(name string) bool {
	for _, a := range tracing.Attributes() {
		if strings.ReplaceAll(string(a.Key), ".", "_") == name {
			return true
		}
	}
	return false
}
