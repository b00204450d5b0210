// Package telemetry tells OpenTelemetry what a client does. Package tracing has the names; this has the moments.
//
// Where nobody listens it does nothing: [Telemetry.Acquire] returns nil then, and all that follows from it does nothing
// on nil.
package telemetry

import (
	"context"
	"reflect"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/gcsync/gcsync/tracing"
)

// Telemetry is what one client tells. A nil one tells nothing.
type Telemetry struct {
	tracer trace.Tracer
	global bool // the tracer is that of the global provider
	class  string

	acquire, hold                                   metric.Float64Histogram
	waiting, held                                   metric.Int64UpDownCounter
	renewals, failures, losses, takeovers, handoffs metric.Int64Counter
	requests, throttled, resolved                   metric.Int64Counter
	cost                                            metric.Float64Counter

	mu   sync.RWMutex
	sets map[labels]*options
}

// New returns the telemetry of a client. A nil provider stands for the global one, which may be set later.
func New(tp trace.TracerProvider, mp metric.MeterProvider, class string) *Telemetry {
	t := &Telemetry{class: class, global: tp == nil, sets: make(map[labels]*options)}
	if tp == nil {
		tp = otel.GetTracerProvider()
	}
	if _, silent := tp.(noop.TracerProvider); !silent {
		t.tracer = tp.Tracer(tracing.Scope)
	}
	if mp == nil {
		mp = otel.GetMeterProvider()
	}
	m := maker{mp.Meter(tracing.Scope), make(map[string]tracing.Metric)}
	for _, def := range tracing.Metrics() {
		m.defined[def.Name] = def
	}
	t.acquire = m.histogram(tracing.MetricAcquireDuration)
	t.hold = m.histogram(tracing.MetricHoldDuration)
	t.waiting = m.upDown(tracing.MetricWaiting)
	t.held = m.upDown(tracing.MetricHeld)
	t.renewals = m.counter(tracing.MetricRenewals)
	t.failures = m.counter(tracing.MetricRenewalFailures)
	t.losses = m.counter(tracing.MetricLosses)
	t.takeovers = m.counter(tracing.MetricTakeovers)
	t.handoffs = m.counter(tracing.MetricHandoffs)
	t.requests = m.counter(tracing.MetricRequests)
	t.throttled = m.counter(tracing.MetricThrottled)
	t.resolved = m.counter(tracing.MetricResolved)
	t.cost = m.sum(tracing.MetricCost)
	return t
}

// maker makes instruments as package tracing defines them. Those that a provider refuses to make do nothing.
type maker struct {
	metric.Meter
	defined map[string]tracing.Metric
}

func (m maker) histogram(name string) metric.Float64Histogram {
	d := m.defined[name]
	i, err := m.Float64Histogram(name, metric.WithUnit(d.Unit), metric.WithDescription(d.About),
		metric.WithExplicitBucketBoundaries(tracing.Boundaries()...))
	return must(i, err)
}

func (m maker) counter(name string) metric.Int64Counter {
	d := m.defined[name]
	i, err := m.Int64Counter(name, metric.WithUnit(d.Unit), metric.WithDescription(d.About))
	return must(i, err)
}

func (m maker) upDown(name string) metric.Int64UpDownCounter {
	d := m.defined[name]
	i, err := m.Int64UpDownCounter(name, metric.WithUnit(d.Unit), metric.WithDescription(d.About))
	return must(i, err)
}

func (m maker) sum(name string) metric.Float64Counter {
	d := m.defined[name]
	i, err := m.Float64Counter(name, metric.WithUnit(d.Unit), metric.WithDescription(d.About))
	return must(i, err)
}

func must[I any](i I, err error) I {
	if err != nil {
		otel.Handle(err)
	}
	return i
}

// traces reports whether anybody would see a span. The global provider of a program that has set none is known by its
// type: to start a span that nobody sees would take memory at every call.
func (t *Telemetry) traces() bool {
	return t.tracer != nil && !(t.global && unset(otel.GetTracerProvider()))
}

func unset(p trace.TracerProvider) bool {
	if _, silent := p.(noop.TracerProvider); silent {
		return true
	}
	typ := reflect.TypeOf(p)
	return typ.Kind() == reflect.Pointer && typ.Elem().PkgPath() == "go.opentelemetry.io/otel/internal/global"
}

// listens reports whether anybody would see the spans or the metrics of calls.
func (t *Telemetry) listens() bool {
	return t != nil && (t.traces() || t.acquire.Enabled(background))
}

var background = context.Background()

// labels are the values of a metric's attributes.
type labels struct {
	key, other        attribute.Key
	value, otherValue string
}

// options are the attributes of a metric in the forms in which instruments take them, made once.
type options struct {
	add    []metric.AddOption
	record []metric.RecordOption
}

func (t *Telemetry) options(l labels) *options {
	t.mu.RLock()
	o := t.sets[l]
	t.mu.RUnlock()
	if o != nil {
		return o
	}
	var kvs []attribute.KeyValue
	for _, kv := range []attribute.KeyValue{l.key.String(l.value), l.other.String(l.otherValue), tracing.KeyClass.String(t.class)} {
		if kv.Key != "" && kv.Value.AsString() != "" {
			kvs = append(kvs, kv)
		}
	}
	with := metric.WithAttributeSet(attribute.NewSet(kvs...))
	o = &options{add: []metric.AddOption{with}, record: []metric.RecordOption{with}}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sets[l] = o
	return o
}

func of(primitive string) labels { return labels{key: tracing.KeyPrimitive, value: primitive} }

func (l labels) and(key attribute.Key, value string) labels {
	l.other, l.otherValue = key, value
	return l
}

// adder is a counter, up and down or up alone.
type adder interface {
	Add(ctx context.Context, n int64, opts ...metric.AddOption)
	Enabled(ctx context.Context) bool
}

// count adds to a counter, if anybody wants to know, and reports whether somebody does.
func (t *Telemetry) count(c adder, n int64, l labels) bool {
	if !c.Enabled(background) {
		return false
	}
	c.Add(background, n, t.options(l).add...)
	return true
}

// Renewed counts a lease that was extended.
func (t *Telemetry) Renewed(primitive string) {
	if t != nil {
		t.count(t.renewals, 1, of(primitive))
	}
}

// RenewalFailed counts an attempt to extend a lease that did not succeed.
func (t *Telemetry) RenewalFailed(primitive string) {
	if t != nil {
		t.count(t.failures, 1, of(primitive))
	}
}

// Lost counts a lease that ended before its release.
func (t *Telemetry) Lost(primitive, reason string) {
	if t != nil {
		t.count(t.losses, 1, of(primitive).and(tracing.KeyReason, reason))
	}
}

// TookOver counts a dead holder that was removed.
func (t *Telemetry) TookOver(primitive, reason string) {
	if t != nil {
		t.count(t.takeovers, 1, of(primitive).and(tracing.KeyReason, reason))
	}
}

// HandedOff counts a grant that came from a holder before.
func (t *Telemetry) HandedOff(primitive, scope string) {
	if t != nil {
		t.count(t.handoffs, 1, of(primitive).and(tracing.KeyScope, scope))
	}
}

// Requested counts a request by its price class and its answer.
func (t *Telemetry) Requested(class string, throttled bool, code func() string) {
	if t == nil || !t.requests.Enabled(background) {
		return
	}
	t.count(t.requests, 1, labels{key: tracing.KeyRequestClass, value: class}.and(tracing.KeyRequestCode, code()))
	if throttled {
		t.count(t.throttled, 1, labels{})
	}
	switch class {
	case tracing.ClassA:
		t.cost.Add(background, tracing.PriceClassA, t.options(labels{}).add...)
	case tracing.ClassB:
		t.cost.Add(background, tracing.PriceClassB, t.options(labels{}).add...)
	}
}

// Resolved counts a write of unknown outcome that was found to have been applied.
func (t *Telemetry) Resolved() {
	if t != nil {
		t.count(t.resolved, 1, labels{})
	}
}

// Inject writes the span context into an object's metadata. Nothing is written for one that is not valid.
func Inject(sc trace.SpanContext, metadata map[string]string) {
	if sc.IsValid() {
		propagation.TraceContext{}.Inject(trace.ContextWithSpanContext(background, sc.WithTraceState(trace.TraceState{})),
			propagation.MapCarrier(metadata))
	}
}

// Extract reads the span context out of an object's metadata; it is not valid if there is none.
func Extract(metadata map[string]string) trace.SpanContext {
	if metadata[tracing.Traceparent] == "" {
		return trace.SpanContext{}
	}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(background, propagation.MapCarrier(metadata)))
}
