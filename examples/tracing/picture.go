package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// picture is an exporter that draws, at the end, all spans on one line of time, each below its parent.
type picture struct {
	w     io.Writer
	mu    sync.Mutex
	spans []sdktrace.ReadOnlySpan
}

// ExportSpans implements [sdktrace.SpanExporter].
func (p *picture) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spans = append(p.spans, spans...)
	return nil
}

// Shutdown implements [sdktrace.SpanExporter].
func (p *picture) Shutdown(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.SortFunc(p.spans, func(a, b sdktrace.ReadOnlySpan) int {
		return cmp.Or(a.StartTime().Compare(b.StartTime()), b.EndTime().Compare(a.EndTime()))
	})
	below := make(map[trace.SpanID][]sdktrace.ReadOnlySpan)
	names := make(map[trace.SpanID]string)
	var begin, end time.Time
	for _, s := range p.spans {
		below[s.Parent().SpanID()] = append(below[s.Parent().SpanID()], s)
		names[s.SpanContext().SpanID()] = source(s) + "'s " + s.Name()
		if begin.IsZero() || s.StartTime().Before(begin) {
			begin = s.StartTime()
		}
		if s.EndTime().After(end) {
			end = s.EndTime()
		}
	}
	const width = 48
	column := func(t time.Time) int { return int(t.Sub(begin) * width / max(end.Sub(begin), 1)) }
	var draw func(parent trace.SpanID, depth int)
	draw = func(parent trace.SpanID, depth int) {
		for _, s := range below[parent] {
			from := column(s.StartTime())
			bar := strings.Repeat(" ", from) + strings.Repeat("=", max(1, column(s.EndTime())-from))
			name := strings.Repeat("  ", depth) + s.Name()
			if depth == 0 {
				name = source(s) + ": " + name
			}
			fmt.Fprintf(p.w, "%-20s |%-*s| %v\n", name, width+1, bar, s.EndTime().Sub(s.StartTime()).Round(time.Millisecond))
			for _, l := range s.Links() {
				fmt.Fprintf(p.w, "%-20s  %s^ waited for %s\n", "", strings.Repeat(" ", from), names[l.SpanContext.SpanID()])
			}
			draw(s.SpanContext().SpanID(), depth+1)
		}
	}
	draw(trace.SpanID{}, 0)
	return nil
}

// source names the program that a span comes from.
func source(s sdktrace.ReadOnlySpan) string {
	for _, kv := range s.Resource().Attributes() {
		if kv.Key == "service.name" {
			return kv.Value.AsString()
		}
	}
	return "?"
}
