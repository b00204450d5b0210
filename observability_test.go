package gcsync_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/tracing"
)

// steady is a service each of whose requests takes exactly 7 ms: what takes how long can then be told to the
// millisecond.
var steady = gcstest.Model{Median: 7 * time.Millisecond, Seed: 1}

// watched is a host with exporters in memory.
type watched struct {
	*host
	name     string
	start    time.Time
	spans    *tracetest.SpanRecorder
	provider *sdktrace.TracerProvider
	reader   *sdkmetric.ManualReader
}

// watch adds a host that is watched.
func (b *bed) watch(name string, change ...func(*gcsync.Options)) *watched {
	b.Helper()
	w := &watched{name: name, start: b.start, spans: tracetest.NewSpanRecorder(), reader: sdkmetric.NewManualReader()}
	w.provider = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(w.spans))
	w.host = b.host(name, append([]func(*gcsync.Options){func(o *gcsync.Options) {
		o.TracerProvider = w.provider
		o.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(w.reader))
	}}, change...)...)
	return w
}

// caller returns the context of a program that has a span of its own.
func (w *watched) caller(ctx context.Context) (context.Context, trace.Span) {
	return w.provider.Tracer("program").Start(ctx, "caller")
}

// story tells the spans of some hosts, in the order in which they began:
//
//	HOST SPAN BEGIN..END OUTCOME KEY=VALUE ... under PARENT -> LINKED TO
func story(hosts ...*watched) string {
	type told struct {
		sdktrace.ReadOnlySpan
		who string
	}
	var all []told
	names := make(map[trace.SpanID]string)
	for _, w := range hosts {
		seen := make(map[string]int)
		ended := w.spans.Ended()
		slices.SortStableFunc(ended, func(a, b sdktrace.ReadOnlySpan) int { return a.StartTime().Compare(b.StartTime()) })
		for _, s := range ended {
			who := w.name + " " + strings.TrimPrefix(s.Name(), "gcsync.")
			if seen[who]++; seen[who] > 1 {
				who += fmt.Sprint(" ", seen[who])
			}
			names[s.SpanContext().SpanID()] = who
			if s.Name() != "caller" {
				all = append(all, told{s, who})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b told) int { return a.StartTime().Compare(b.StartTime()) })
	var b strings.Builder
	for _, s := range all {
		since := func(t time.Time) time.Duration { return t.Sub(hosts[0].start).Round(time.Millisecond) }
		fmt.Fprintf(&b, "%s %v..%v", s.who, since(s.StartTime()), since(s.EndTime()))
		var facts []string
		outcome := ""
		for _, kv := range s.Attributes() {
			switch kv.Key {
			case tracing.KeyPrimitive, tracing.KeyName, tracing.KeyToken:
			case tracing.KeyOutcome:
				outcome = kv.Value.AsString()
			default:
				facts = append(facts, strings.TrimPrefix(string(kv.Key), "gcsync.")+"="+kv.Value.String())
			}
		}
		slices.Sort(facts)
		fmt.Fprintf(&b, " %s %s", outcome, strings.Join(facts, " "))
		if parent, ok := names[s.Parent().SpanID()]; ok {
			fmt.Fprintf(&b, " under %s", parent)
		}
		for _, l := range s.Links() {
			fmt.Fprintf(&b, " -> %s", names[l.SpanContext.SpanID()])
		}
		if s.Status().Code == codes.Error {
			fmt.Fprintf(&b, " ERROR")
		}
		fmt.Fprintln(&b)
	}
	return b.String()
}

// points tells the metrics of a host, in the order of their names:
//
//	METRIC KEY=VALUE ... = VALUE
//	METRIC KEY=VALUE ... = COUNT in SUM s, up to BOUNDARY: COUNT ...
func (w *watched) points(t *testing.T) string {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := w.reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	var lines []string
	add := func(name string, set attribute.Set, value string) {
		line := strings.TrimPrefix(name, "gcsync.")
		for _, kv := range set.ToSlice() {
			if kv.Key != tracing.KeyPrimitive {
				line += " " + strings.TrimPrefix(string(kv.Key), "gcsync.") + "=" + kv.Value.AsString()
			}
		}
		lines = append(lines, line+" = "+value+"\n")
	}
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes, fmt.Sprint(p.Value))
				}
			case metricdata.Sum[float64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes, fmt.Sprintf("%.2f millionths", p.Value*1e6))
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					text := fmt.Sprintf("%d in %.3f s,", p.Count, p.Sum)
					for i, n := range p.BucketCounts {
						if n > 0 {
							text += fmt.Sprintf(" up to %v: %d", p.Bounds[i], n)
						}
					}
					add(m.Name, p.Attributes, text)
				}
			default:
				t.Errorf("%s is a %T", m.Name, m.Data)
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	got, want = strings.TrimSpace(got), strings.TrimSpace(strings.ReplaceAll(want, "\t", ""))
	if got != want {
		t.Errorf("%s:\n%s\n\nwant:\n%s", what, got, want)
	}
}

func TestTraceOfAnUncontendedLock(t *testing.T) {
	inBubble(t, steady, func(b *bed) {
		x := b.watch("x", func(o *gcsync.Options) { o.Class = "tests" })
		ctx, caller := x.caller(b.Context())
		if err := x.Mutex("m").Lock(ctx); err != nil {
			b.Fatal(err)
		}
		time.Sleep(time.Second)
		b.unlock(x.Mutex("m"))
		caller.End()
		same(b.T, "spans", story(x), ``)
		same(b.T, "metrics", x.points(b.T), ``)
	})
}

func TestTraceOfAHandOff(t *testing.T) {
	inBubble(t, steady, func(b *bed) {
		x, y := b.watch("x"), b.watch("y")
		b.lock(x.Mutex("m"))
		done := make(chan struct{})
		go func() {
			defer close(done)
			b.lock(y.Mutex("m"))
			b.unlock(y.Mutex("m"))
		}()
		time.Sleep(time.Second)
		b.unlock(x.Mutex("m"))
		<-done
		same(b.T, "spans", story(x, y), ``)
		same(b.T, "metrics", y.points(b.T), ``)
	})
}

func TestTraceOfALostLease(t *testing.T) {
	inBubble(t, steady, func(b *bed) {
		x := b.watch("x")
		b.lock(x.Mutex("m"))
		x.faults.Always(nil, gcstest.Fault{Kind: gcstest.Refuse, Status: 503})
		<-x.Mutex("m").Lease().Done()
		if err := x.Mutex("m").Unlock(b.Context()); !errors.Is(err, gcsync.ErrLost) {
			b.Errorf("Unlock = %v", err)
		}
		synctest.Wait()
		same(b.T, "spans", story(x), ``)
		same(b.T, "metrics", x.points(b.T), ``)
	})
}

func TestTraceOfATakeover(t *testing.T) {
	inBubble(t, steady, func(b *bed) {
		x, y := b.watch("x"), b.watch("y")
		b.lock(x.Mutex("m"))
		x.vanish()
		b.lock(y.Mutex("m"))
		b.unlock(y.Mutex("m"))
		same(b.T, "spans", story(x, y), ``)
		same(b.T, "metrics", y.points(b.T), ``)
	})
}

func TestTraceOfAStorm(t *testing.T) {
	inBubble(t, steady, func(b *bed) {
		x := b.watch("x")
		heal := x.faults.Always(nil, gcstest.Fault{Kind: gcstest.Refuse, Status: 429})
		time.AfterFunc(30*time.Second, heal)
		b.lock(x.Mutex("m"))
		b.unlock(x.Mutex("m"))
		same(b.T, "spans", story(x), ``)
		same(b.T, "metrics", x.points(b.T), ``)
	})
}

func TestTraceOfACancelledWait(t *testing.T) {
	inBubble(t, steady, func(b *bed) {
		x, y := b.watch("x"), b.watch("y")
		b.lock(x.Mutex("m"))
		ctx, cancel := context.WithTimeout(b.Context(), time.Second)
		defer cancel()
		if err := y.Mutex("m").Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
			b.Errorf("Lock = %v", err)
		}
		b.unlock(x.Mutex("m"))
		time.Sleep(time.Second)
		same(b.T, "spans", story(x, y), ``)
		same(b.T, "metrics", y.points(b.T), ``)
	})
}

var _ = slog.LevelWarn
