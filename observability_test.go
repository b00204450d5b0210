package gcsync_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

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
	slices.SortFunc(all, func(a, b told) int {
		return cmp.Or(a.StartTime().Compare(b.StartTime()), strings.Compare(a.who, b.who))
	})
	var b strings.Builder
	for _, s := range all {
		since := func(t time.Time) time.Duration { return t.Sub(hosts[0].start).Round(time.Millisecond) }
		fmt.Fprintf(&b, "%s %v..%v", s.who, since(s.StartTime()), since(s.EndTime()))
		var facts []string
		outcome := ""
		for _, kv := range s.Attributes() {
			switch kv.Key {
			case tracing.KeyPrimitive, tracing.KeyName, tracing.KeyToken, tracing.KeyTerm:
			case tracing.KeyOutcome:
				outcome = kv.Value.AsString()
			default:
				facts = append(facts, strings.TrimPrefix(string(kv.Key), "gcsync.")+"="+kv.Value.String())
			}
		}
		slices.Sort(facts)
		fmt.Fprintf(&b, " %s", strings.Join(append([]string{outcome}, facts...), " "))
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

// metrics returns all that a host has counted.
func (w *watched) metrics(t *testing.T) (all []metricdata.Metrics) {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := w.reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	for _, scope := range rm.ScopeMetrics {
		all = append(all, scope.Metrics...)
	}
	return all
}

// points tells the metrics of a host, in the order of their names:
//
//	METRIC KEY=VALUE ... = VALUE
//	METRIC KEY=VALUE ... = COUNT in SUM s, up to BOUNDARY: COUNT ...
func (w *watched) points(t *testing.T) string {
	t.Helper()
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
	for _, m := range w.metrics(t) {
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
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// same compares; # stands for any number, which is that of the polls, or depends on a jitter, and ~ for any quoted text.
func same(t *testing.T, what, got, want string) {
	t.Helper()
	got, want = strings.TrimSpace(got), strings.TrimSpace(strings.ReplaceAll(want, "\t", ""))
	pattern := strings.NewReplacer("#", `[\d.]+m?s?`, "~", `"[^\n]*"`).Replace(regexp.QuoteMeta(want))
	if !regexp.MustCompile("^" + pattern + "$").MatchString(got) {
		t.Errorf("%s:\n%s\n\nwant:\n%s", what, got, want)
	}
}

// billed fails unless the metrics of a host count the requests that its client says it made, and their price.
func (w *watched) billed(t *testing.T) {
	t.Helper()
	u := w.Usage()
	want := map[string]int64{"a": u.ClassA, "b": u.ClassB, "free": u.Free, "throttled": u.Throttled, "resolved": u.Resolved}
	got := map[string]int64{"a": 0, "b": 0, "free": 0, "throttled": 0, "resolved": 0}
	var cost float64
	for _, m := range w.metrics(t) {
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range data.DataPoints {
				switch class, _ := p.Attributes.Value(tracing.KeyRequestClass); m.Name {
				case tracing.MetricRequests:
					got[class.AsString()] += p.Value
				case tracing.MetricThrottled:
					got["throttled"] = p.Value
				case tracing.MetricResolved:
					got["resolved"] = p.Value
				}
			}
		case metricdata.Sum[float64]:
			cost = data.DataPoints[0].Value
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("%s: requests by the metrics %v, by Client.Usage %v", w.name, got, want)
	}
	if estimate := (5*float64(u.ClassA) + 0.4*float64(u.ClassB)) / 1e6; math.Abs(cost-estimate) > 1e-9 {
		t.Errorf("%s: cost %v, want %v", w.name, cost, estimate)
	}
}

// constant are retries without a jitter.
func constant(o *gcsync.Options) {
	o.Backoff = func() backoff.BackOff { return backoff.NewConstantBackOff(500 * time.Millisecond) }
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
		same(b.T, "spans", story(x), `
			x acquire 0s..42ms acquired attempts=1 class=tests contended=false local=false position=0 requests.class_a=5 requests.class_b=1 requests.free=0 ticket=1 under x caller
			x hold 42ms..1.042s released class=tests under x caller
			x release 1.042s..1.049s released class=tests ticket=1 under x hold`)
		same(b.T, "metrics", x.points(b.T), `
			acquire.duration class=tests outcome=acquired = 1 in 0.042 s, up to 0.05: 1
			cost class=tests = 25.40 millionths
			held class=tests = 0
			hold.duration class=tests outcome=released = 1 in 1.000 s, up to 1: 1
			requests class=tests request.class=a request.code=ok = 5
			requests class=tests request.class=b request.code=ok = 1
			requests class=tests request.class=free request.code=ok = 1
			waiting class=tests = 0`)
		x.billed(b.T)
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
		same(b.T, "metrics meanwhile", y.points(b.T), `
			cost = # millionths
			requests request.class=a request.code=ok = 2
			requests request.class=b request.code=ok = #
			waiting = 1`)
		b.unlock(x.Mutex("m"))
		<-done
		same(b.T, "spans", story(x, y), `
			x acquire 0s..42ms acquired attempts=1 contended=false local=false position=0 requests.class_a=5 requests.class_b=1 requests.free=0 ticket=1
			x hold 42ms..1.042s released
			y acquire 42ms..1.056s acquired attempts=1 contended=true holder=x local=false position=1 requests.class_a=2 requests.class_b=# requests.free=1 ticket=2 -> x acquire
			x release 1.042s..1.049s released ticket=1 under x hold
			y hold 1.056s..1.056s released
			y release 1.056s..1.063s released ticket=2 under y hold`)
		same(b.T, "metrics", y.points(b.T), `
			acquire.duration outcome=acquired = 1 in 1.014 s, up to 2.5: 1
			cost = # millionths
			handoffs scope=remote = 1
			held = 0
			hold.duration outcome=released = 1 in 0.000 s, up to 0.001: 1
			requests request.class=a request.code=ok = 2
			requests request.class=b request.code=ok = #
			requests request.class=free request.code=404 = 1
			requests request.class=free request.code=ok = 1
			waiting = 0`)
		x.billed(b.T)
		y.billed(b.T)
	})
}

// Once the holder has renewed, it is its hold that others link to; and it is the last holder of the process that counts.
func TestTraceOfAHandOffAfterARenewal(t *testing.T) {
	inBubble(t, steady, func(b *bed) {
		x, y := b.watch("x"), b.watch("y")
		b.lock(x.Mutex("m"))
		go func() { b.lock(x.Mutex("m")) }()
		time.Sleep(time.Second)
		b.unlock(x.Mutex("m"))
		done := make(chan struct{})
		go func() {
			defer close(done)
			b.lock(y.Mutex("m"))
			b.unlock(y.Mutex("m"))
		}()
		time.Sleep(5 * time.Second)
		b.unlock(x.Mutex("m"))
		<-done
		same(b.T, "spans", story(x, y), `
			x acquire 0s..42ms acquired attempts=1 contended=false local=false position=0 requests.class_a=5 requests.class_b=1 requests.free=0 ticket=1
			x acquire 2 42ms..1.042s acquired attempts=0 contended=true local=true position=1 requests.class_a=0 requests.class_b=0 requests.free=0
			x hold 42ms..1.042s released
			x hold 2 1.042s..6.042s released
			y acquire 1.042s..# acquired attempts=1 contended=true holder=x local=false position=1 requests.class_a=2 requests.class_b=# requests.free=# ticket=2 -> x hold 2
			x release 6.042s..6.056s released ticket=1 under x hold 2
			y hold #..# released
			y release #..# released ticket=2 under y hold`)
		same(b.T, "metrics", x.points(b.T), `
			acquire.duration outcome=acquired = 2 in 1.042 s, up to 0.05: 1 up to 1: 1
			cost = # millionths
			handoffs scope=local = 1
			held = 0
			hold.duration outcome=released = 2 in 6.000 s, up to 1: 1 up to 5: 1
			renewals = 1
			requests request.class=a request.code=ok = 6
			requests request.class=b request.code=ok = #
			requests request.class=free request.code=404 = #
			requests request.class=free request.code=ok = 1
			waiting = 0`)
	})
}

func TestTraceOfALostLease(t *testing.T) {
	inBubble(t, steady, func(b *bed) {
		x := b.watch("x", constant)
		b.lock(x.Mutex("m"))
		heal := x.faults.Always(nil, gcstest.Fault{Kind: gcstest.Refuse, Status: 503})
		<-x.Mutex("m").Lease().Done()
		if err := x.Mutex("m").Unlock(b.Context()); !errors.Is(err, gcsync.ErrLost) {
			b.Errorf("Unlock = %v", err)
		}
		heal()
		time.Sleep(time.Second)
		same(b.T, "spans", story(x), `
			x acquire 0s..42ms acquired attempts=1 contended=false local=false position=0 requests.class_a=5 requests.class_b=1 requests.free=0 ticket=1
			x hold 42ms..9.028s lost ERROR
			x renew #..9.028s lost attempts=# under x hold ERROR
			x release 9.028s..# released ticket=1 under x hold`)
		same(b.T, "metrics", x.points(b.T), `
			acquire.duration outcome=acquired = 1 in 0.042 s, up to 0.05: 1
			cost = 25.40 millionths
			held = 0
			hold.duration outcome=lost = 1 in 8.986 s, up to 10: 1
			losses reason=not_renewed = 1
			renewal.failures = #
			requests request.class=a request.code=ok = 5
			requests request.class=b request.code=ok = 1
			requests request.class=free request.code=404 = 1
			requests request.class=free request.code=503 = #
			requests request.class=free request.code=ok = 1
			waiting = 0`)
		x.billed(b.T)
	})
	// A baton that somebody deletes is a loss as well, and the reason tells.
	inBubble(t, steady, func(b *bed) {
		x := b.watch("x")
		b.lock(x.Mutex("m"))
		if err := b.srv.Client(nil).Bucket(bucket).Object(ticket("m", 0)).Delete(b.Context()); err != nil {
			b.Fatal(err)
		}
		<-x.Mutex("m").Lease().Done()
		time.Sleep(time.Second) // the holder is the first to be told
		if points := x.points(b.T); !strings.Contains(points, "losses reason=deleted = 1\n") {
			b.Errorf("the loss is not told:\n%s", points)
		}
	})
}

func TestTraceOfATakeover(t *testing.T) {
	inBubble(t, steady, func(b *bed) {
		x, y := b.watch("x"), b.watch("y")
		b.lock(x.Mutex("m"))
		x.vanish()
		b.lock(y.Mutex("m"))
		b.unlock(y.Mutex("m"))
		same(b.T, "spans", story(x, y), `
			x acquire 0s..42ms acquired attempts=1 contended=false local=false position=0 requests.class_a=5 requests.class_b=1 requests.free=0 ticket=1
			x hold 42ms..9.028s lost ERROR
			y acquire 42ms..10.092s acquired attempts=1 contended=true holder=x local=false position=1 requests.class_a=2 requests.class_b=# requests.free=# ticket=2 -> x acquire
			x renew #..9.028s lost attempts=# under x hold ERROR
			y expire 10.078s..10.092s expired holder=x reason=claim_expired silence=10.008 ticket=1 under y acquire -> x acquire
			y hold 10.092s..10.092s released
			y release 10.092s..10.099s released ticket=2 under y hold`)
		same(b.T, "metrics", y.points(b.T), `
			acquire.duration outcome=acquired = 1 in 10.050 s, up to 30: 1
			cost = # millionths
			held = 0
			hold.duration outcome=released = 1 in 0.000 s, up to 0.001: 1
			requests request.class=a request.code=ok = 2
			requests request.class=b request.code=ok = #
			requests request.class=free request.code=404 = #
			requests request.class=free request.code=ok = 2
			takeovers reason=claim_expired = 1
			waiting = 0`)
		y.billed(b.T)
	})
}

func TestTraceOfAStorm(t *testing.T) {
	inBubble(t, steady, func(b *bed) {
		var log strings.Builder
		x := b.watch("x", constant, func(o *gcsync.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		heal := x.faults.Always(nil, gcstest.Fault{Kind: gcstest.Refuse, Status: 429})
		time.AfterFunc(30*time.Second-time.Millisecond, heal)
		b.lock(x.Mutex("m"))
		b.unlock(x.Mutex("m"))
		same(b.T, "spans", story(x), `
			x acquire 0s..# acquired attempts=1 contended=false local=false position=0 requests.class_a=5 requests.class_b=1 requests.free=# ticket=1
			x hold #..# released
			x release #..# released ticket=1 under x hold`)
		same(b.T, "metrics", x.points(b.T), `
			acquire.duration outcome=acquired = 1 in # s, up to 60: 1
			cost = 25.40 millionths
			held = 0
			hold.duration outcome=released = 1 in 0.000 s, up to 0.001: 1
			requests request.class=a request.code=ok = 5
			requests request.class=b request.code=ok = 1
			requests request.class=free request.code=429 = #
			requests request.class=free request.code=ok = 1
			throttled = #
			waiting = 0`)
		x.billed(b.T)
		// A storm of half a minute is three lines, not one for each request.
		if lines := strings.Count(log.String(), "\n"); lines != 3 || !strings.Contains(log.String(), "throttled") {
			b.Errorf("%d lines in the log, want 3 of throttling:\n%s", lines, log.String())
		}
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
		same(b.T, "spans", story(x, y), `
			x acquire 0s..42ms acquired attempts=1 contended=false local=false position=0 requests.class_a=5 requests.class_b=1 requests.free=0 ticket=1
			x hold 42ms..1.042s released
			y acquire 42ms..1.042s cancelled attempts=1 contended=true holder=x local=false position=1 requests.class_a=2 requests.class_b=# requests.free=0 ticket=2 -> x acquire
			x release 1.042s..1.049s released ticket=1 under x hold
			y release 1.056s..1.063s released ticket=2 under y acquire`)
		same(b.T, "metrics", y.points(b.T), `
			acquire.duration outcome=cancelled = 1 in 1.000 s, up to 1: 1
			cost = # millionths
			requests request.class=a request.code=ok = #
			requests request.class=b request.code=ok = #
			requests request.class=free request.code=404 = 2
			requests request.class=free request.code=ok = 1
			waiting = 0`)
		y.billed(b.T)
	})
}

// What several hold at once is told in the same way.
func TestTraceOfASemaphore(t *testing.T) {
	inBubble(t, steady, func(b *bed) {
		x, y := b.watch("x"), b.watch("y")
		first, err := x.Semaphore("s", 1).Acquire(b.Context(), 1)
		if err != nil {
			b.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := y.Semaphore("s", 1).Do(b.Context(), 1, func(context.Context) error { return nil }); err != nil {
				b.Error(err)
			}
		}()
		time.Sleep(time.Second)
		if err := first.Release(b.Context()); err != nil {
			b.Error(err)
		}
		<-done
		same(b.T, "spans", story(x, y), `
			x acquire 0s..84ms acquired attempts=1 contended=false local=false position=0 requests.class_a=5 requests.class_b=1 requests.free=0 ticket=1
			x hold 84ms..1.084s released
			y acquire 84ms..# acquired attempts=1 contended=true holder=x local=false position=1 requests.class_a=# requests.class_b=# requests.free=# ticket=2 -> x acquire
			x release 1.084s..1.091s released ticket=1 under x hold
			y hold #..# released
			y release #..# released ticket=2 under y hold`)
		same(b.T, "metrics", y.points(b.T), `
			acquire.duration outcome=acquired = 1 in # s, up to 2.5: 1
			cost = # millionths
			handoffs scope=remote = 1
			held = 0
			hold.duration outcome=released = 1 in 0.000 s, up to 0.001: 1
			requests request.class=a request.code=ok = #
			requests request.class=b request.code=ok = #
			requests request.class=free request.code=404 = #
			requests request.class=free request.code=ok = #
			waiting = 0`)
		x.billed(b.T)
		y.billed(b.T)
	})
}

// Readers who join a hold of their process tell so, and a writer that waits for them links to it.
func TestTraceOfReadersAndAWriter(t *testing.T) {
	inBubble(t, steady, func(b *bed) {
		x, y := b.watch("x"), b.watch("y")
		for range 2 {
			if err := x.RWMutex("rw").RLock(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := y.RWMutex("rw").Do(b.Context(), func(context.Context) error { return nil }); err != nil {
				b.Error(err)
			}
		}()
		time.Sleep(time.Second)
		for range 2 {
			if err := x.RWMutex("rw").RUnlock(b.Context()); err != nil {
				b.Error(err)
			}
		}
		<-done
		same(b.T, "spans", story(x, y), `
			x acquire 0s..42ms acquired attempts=1 contended=false local=false position=0 requests.class_a=5 requests.class_b=1 requests.free=1 ticket=1
			x acquire 2 42ms..42ms acquired attempts=0 contended=false local=true position=0 requests.class_a=0 requests.class_b=0 requests.free=0
			x hold 42ms..1.042s released
			x hold 2 42ms..1.042s released
			y acquire 42ms..# acquired attempts=1 contended=true holder=x local=false position=0 requests.class_a=# requests.class_b=# requests.free=# ticket=1 -> x acquire
			x release 1.042s..1.049s released ticket=1 under x hold 2
			y hold #..# released
			y release #..# released ticket=1 under y hold`)
	})
}

// What stands on one object is told in the same way: a run, a term, and who waited for whom.
func TestTraceOfOnceAndElection(t *testing.T) {
	inBubble(t, steady, func(b *bed) {
		x, y := b.watch("x"), b.watch("y")
		var all sync.WaitGroup
		all.Go(func() {
			if err := x.Once("o").Do(b.Context(), func(context.Context) error { time.Sleep(2 * time.Second); return nil }); err != nil {
				b.Error(err)
			}
		})
		time.Sleep(100 * time.Millisecond)
		if err := y.Once("o").Do(b.Context(), func(context.Context) error { return errors.New("run twice") }); err != nil {
			b.Error(err)
		}
		all.Wait()
		same(b.T, "spans", story(x, y), `
			x acquire 0s..14ms acquired attempts=1 contended=false local=false position=0 requests.class_a=1 requests.class_b=0 requests.free=1
			x hold 14ms..2.021s released
			x run 14ms..2.014s done under x hold
			y acquire 100ms..# done attempts=0 contended=true holder=x local=false position=1 requests.class_a=0 requests.class_b=# requests.free=# -> x acquire
			x release 2.021s..2.028s released under x hold`)
		same(b.T, "metrics", y.points(b.T), `
			acquire.duration outcome=done = 1 in # s, up to 2.5: 1
			cost = # millionths
			requests request.class=b request.code=ok = #
			requests request.class=free request.code=404 = #
			requests request.class=free request.code=412 = #
			waiting = 0`)
		x.billed(b.T)
		y.billed(b.T)
	})
	inBubble(t, steady, func(b *bed) {
		x, y := b.watch("x"), b.watch("y")
		if _, err := x.Election("e").Campaign(b.Context(), "x"); err != nil {
			b.Fatal(err)
		}
		x.vanish()
		term, err := y.Election("e").Campaign(b.Context(), "y")
		if err != nil {
			b.Fatal(err)
		}
		if err := term.Resign(b.Context()); err != nil {
			b.Error(err)
		}
		same(b.T, "spans", story(x, y), `
			x acquire 0s..14ms acquired attempts=1 contended=false local=false position=0 requests.class_a=1 requests.class_b=0 requests.free=1
			x term 14ms..9.007s lost ERROR
			y acquire 14ms..# acquired attempts=1 contended=true holder=x local=false position=1 requests.class_a=1 requests.class_b=# requests.free=# -> x acquire
			x renew #..9.007s lost attempts=# under x term ERROR
			y expire #..# expired holder=x reason=ttl_expired silence=# under y acquire -> x acquire
			y release #..# released under y term
			y term #..# released`)
		same(b.T, "metrics", y.points(b.T), `
			acquire.duration outcome=acquired = 1 in # s, up to 30: 1
			cost = # millionths
			held = 0
			hold.duration outcome=released = 1 in 0.000 s, up to 0.001: 1
			requests request.class=a request.code=ok = 2
			requests request.class=b request.code=ok = #
			requests request.class=free request.code=412 = #
			takeovers reason=ttl_expired = 1
			waiting = 0`)
	})
}

// Whatever is told is in package tracing as it is told, and nothing else is.
func TestEverythingToldIsDefined(t *testing.T) {
	spans, metrics, values := make(map[string]bool), make(map[string]bool), make(map[attribute.Key]map[string]bool)
	seen := func(set []attribute.KeyValue) (keys []attribute.Key) {
		for _, kv := range set {
			keys = append(keys, kv.Key)
			if values[kv.Key] == nil {
				values[kv.Key] = make(map[string]bool)
			}
			values[kv.Key][kv.Value.String()] = true
		}
		return keys
	}
	within := func(what string, keys, common, defined []attribute.Key) {
		for _, k := range keys {
			if !slices.Contains(common, k) && !slices.Contains(defined, k) {
				t.Errorf("%s has the attribute %s, which is not defined", what, k)
			}
		}
	}
	for _, w := range everything(t) {
		for _, s := range w.spans.Ended() {
			i := slices.IndexFunc(tracing.Spans(), func(d tracing.Span) bool { return d.Name == s.Name() })
			if i < 0 {
				t.Errorf("the span %s is not defined", s.Name())
				continue
			}
			spans[s.Name()] = true
			within(s.Name(), seen(s.Attributes()), []attribute.Key{tracing.KeyPrimitive, tracing.KeyName, tracing.KeyClass}, tracing.Spans()[i].Keys)
			if s.SpanKind() != trace.SpanKindInternal {
				t.Errorf("%s is of kind %s", s.Name(), s.SpanKind())
			}
		}
		for _, m := range w.metrics(t) {
			i := slices.IndexFunc(tracing.Metrics(), func(d tracing.Metric) bool { return d.Name == m.Name })
			if i < 0 {
				t.Errorf("the metric %s is not defined", m.Name)
				continue
			}
			metrics[m.Name] = true
			def := tracing.Metrics()[i]
			if m.Unit != def.Unit || m.Description != def.About {
				t.Errorf("%s has unit %q and description %q", m.Name, m.Unit, m.Description)
			}
			kind := tracing.Counter
			var sets []attribute.Set
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				if !data.IsMonotonic {
					kind = tracing.UpDownCounter
				}
				for _, p := range data.DataPoints {
					sets = append(sets, p.Attributes)
				}
			case metricdata.Sum[float64]:
				for _, p := range data.DataPoints {
					sets = append(sets, p.Attributes)
				}
			case metricdata.Histogram[float64]:
				kind = tracing.Histogram
				for _, p := range data.DataPoints {
					sets = append(sets, p.Attributes)
					if !slices.Equal(p.Bounds, tracing.Boundaries()) {
						t.Errorf("%s has the boundaries %v", m.Name, p.Bounds)
					}
				}
			}
			if kind != def.Kind {
				t.Errorf("%s is a %s", m.Name, kind)
			}
			for _, set := range sets {
				within(m.Name, seen(set.ToSlice()), []attribute.Key{tracing.KeyClass}, def.Keys)
				if _, named := set.Value(tracing.KeyName); named {
					t.Errorf("%s has the name of a lock", m.Name)
				}
			}
		}
	}
	for _, d := range tracing.Spans() {
		if !spans[d.Name] {
			t.Errorf("no span %s was told", d.Name)
		}
	}
	for _, d := range tracing.Metrics() {
		if !metrics[d.Name] {
			t.Errorf("no metric %s was told", d.Name)
		}
	}
	for _, d := range tracing.Attributes() {
		if values[d.Key] == nil {
			t.Errorf("no attribute %s was told", d.Key)
		}
		for v := range values[d.Key] {
			if d.Values != nil && !slices.Contains(d.Values, v) {
				t.Errorf("%s = %s is not defined", d.Key, v)
			}
		}
		for _, v := range d.Values {
			if !values[d.Key][v] {
				t.Logf("%s = %s was not told here", d.Key, v)
			}
		}
	}
}

// everything has something of every sort happen.
func everything(t *testing.T) (hosts []*watched) {
	class := func(o *gcsync.Options) { o.Class = "tests" }
	again := func(f func() error) { // whatever faults do
		for f() != nil {
			time.Sleep(time.Second)
		}
	}
	inBubble(t, typical, func(b *bed) {
		x, y, z := b.watch("x", class, constant), b.watch("y", class), b.watch("z", class)
		hosts = []*watched{x, y, z}
		ctx := b.Context()
		pass := func(context.Context) error { return nil }

		// Hand-offs, a renewal, a lost answer, a wait that is cancelled.
		x.faults.Script(gcstest.On(gcstest.Insert, "/t/"), gcstest.Fault{Kind: gcstest.LoseAnswer})
		b.lock(x.Mutex("m"))
		var all sync.WaitGroup
		for _, h := range hosts {
			all.Go(func() { again(func() error { return h.Mutex("m").Do(ctx, pass) }) })
		}
		all.Go(func() {
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_ = y.Mutex("m").Lock(short)
		})
		time.Sleep(5 * time.Second)
		_, _ = z.Mutex("m").TryLock(ctx)
		b.unlock(x.Mutex("m"))
		all.Wait()

		// Several at once.
		all.Go(func() { again(func() error { return x.Semaphore("s", 2).Do(ctx, 2, pass) }) })
		all.Go(func() { again(func() error { return y.Semaphore("s", 2).Do(ctx, 1, pass) }) })
		all.Go(func() { again(func() error { return x.RWMutex("rw").RDo(ctx, pass) }) })
		all.Go(func() { again(func() error { return y.RWMutex("rw").Do(ctx, pass) }) })
		all.Wait()

		// What stands on one object.
		for _, h := range []*watched{x, y} {
			all.Go(func() { again(func() error { return h.Once("once").Do(ctx, pass) }) })
			all.Go(func() {
				again(func() error { _, err := h.Every("every", time.Hour).Do(ctx, pass); return err })
			})
			all.Go(func() { again(func() error { return h.Election("election").Run(ctx, h.name, pass) }) })
		}
		all.Wait()

		// Throttling, renewals that fail, a loss, a takeover.
		x.faults.Script(gcstest.On(gcstest.Insert, ""), gcstest.Fault{Kind: gcstest.Refuse, Status: 429})
		b.lock(x.Mutex("dies"))
		x.vanish()
		b.lock(y.Mutex("dies"))
		b.unlock(y.Mutex("dies"))
	})
	return hosts
}

// What an operator has to know is in the log at level Warn, with what it takes to find out more; all else is not.
func TestLogs(t *testing.T) {
	inBubble(t, steady, func(b *bed) {
		var log strings.Builder
		var writing sync.Mutex
		logged := func(o *gcsync.Options) {
			o.Logger = slog.New(slog.NewTextHandler(locked{&writing, &log}, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}}))
		}
		x, y, z := b.host("x", logged), b.host("y", logged), b.host("z", logged)

		// Contention, renewals and a wait that is cancelled are nothing to be told of.
		b.lock(x.Mutex("m"))
		var all sync.WaitGroup
		all.Go(func() { b.lock(y.Mutex("m")) })
		time.Sleep(time.Second)
		all.Go(func() {
			ctx, cancel := context.WithTimeout(b.Context(), time.Second)
			defer cancel()
			_ = z.Mutex("m").Lock(ctx)
		})
		time.Sleep(time.Minute)
		b.unlock(x.Mutex("m"))
		all.Wait()
		if log.Len() > 0 {
			b.Errorf("logged without need:\n%s", log.String())
		}

		// Death is: the dead says that it has lost, if it still can, and the next that it takes over.
		y.vanish()
		b.lock(z.Mutex("m"))
		b.unlock(z.Mutex("m"))
		host, _ := os.Hostname()
		same(b.T, "log", log.String(), `
			level=WARN msg="gcsync: the service does not answer, and requests are repeated" bucket=`+bucket+` operation=patch for=# error=~
			level=WARN msg="gcsync: lost" queue=gs://`+bucket+`/gcsync/m token=# "held for"=# error=~ ticket=2
			level=WARN msg="gcsync: claim expired" queue=gs://`+bucket+`/gcsync/m "previous owner"=y "previous host"=`+host+` "silent for"=# lease=10s ticket=2`)
	})
}

// locked is a writer for several goroutines.
type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// listeners are clients to whose telemetry different people listen.
var listeners = []struct {
	name   string
	listen func(o *gcsync.Options)
}{
	{"none", gcsync.Mute},
	{"unset", func(*gcsync.Options) {}}, // the global providers, which nobody has set
	{"noop", func(o *gcsync.Options) {
		o.TracerProvider, o.MeterProvider = tracenoop.NewTracerProvider(), metricnoop.NewMeterProvider()
	}},
	{"recording", func(o *gcsync.Options) {
		o.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(sdktrace.NewSimpleSpanProcessor(discard{})))
		o.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	}},
}

// discard is an exporter that throws away.
type discard struct{}

func (discard) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (discard) Shutdown(context.Context) error                             { return nil }

// While nobody listens, to tell takes no memory: a Lock and Unlock that take no request allocate as often as they do in a
// client that has no telemetry.
func TestTellingNobodyIsFree(t *testing.T) {
	allocations := make(map[string]float64)
	for _, who := range listeners {
		inBubble(t, steady, func(b *bed) {
			h := b.host("x", func(o *gcsync.Options) { o.Linger = time.Second }, who.listen)
			mu := h.Mutex("m")
			cycle := func() {
				b.lock(mu)
				b.unlock(mu)
			}
			cycle()
			cycle() // it lingers from now on, and time stands still
			allocations[who.name] = testing.AllocsPerRun(1000, cycle)
		})
	}
	t.Log("allocations:", allocations)
	for _, who := range []string{"unset", "noop"} {
		if allocations[who] != allocations["none"] {
			t.Errorf("%s: %v allocations, %v without telemetry", who, allocations[who], allocations["none"])
		}
	}
	if allocations["recording"] <= allocations["none"] {
		t.Errorf("%v allocations while somebody listens, %v without telemetry: the comparison is worth nothing",
			allocations["recording"], allocations["none"])
	}
}
