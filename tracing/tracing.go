// Package tracing holds every name that gcsync shows to OpenTelemetry: of spans, of their attributes, of metrics with their
// units and bucket boundaries. Nothing else is emitted, and each is explained here once; docs/observability.md is the
// same in tables, and a test keeps the two alike.
//
// All names are in the namespace gcsync. Spans are of kind INTERNAL, units are those of UCUM, durations are seconds.
//
// The name of a lock is an attribute of spans and never of metrics, where it would make a time series of each. To tell
// groups of locks apart in metrics, give their client a class ([KeyClass]).
package tracing

import "go.opentelemetry.io/otel/attribute"

// Scope is the name of the instrumentation: that of the tracer and the meter.
const Scope = "github.com/gcsync/gcsync"

// Traceparent is the key in an object's metadata under which a trace context travels from one client to another, in the
// form of the header of the same name (https://www.w3.org/TR/trace-context/). On a ticket it is that of the call that
// drew the ticket; once a holder has renewed, it is on the object that it renews that of its hold.
const Traceparent = "traceparent"

// Names of spans. [Spans] says what each is about.
const (
	SpanAcquire = "gcsync.acquire"
	SpanHold    = "gcsync.hold"
	SpanRenew   = "gcsync.renew"
	SpanRelease = "gcsync.release"
	SpanExpire  = "gcsync.expire"
	SpanRun     = "gcsync.run"
	SpanTerm    = "gcsync.term"
)

// Names of metrics. [Metrics] says what each counts.
const (
	MetricAcquireDuration = "gcsync.acquire.duration"
	MetricHoldDuration    = "gcsync.hold.duration"
	MetricWaiting         = "gcsync.waiting"
	MetricHeld            = "gcsync.held"
	MetricRenewals        = "gcsync.renewals"
	MetricRenewalFailures = "gcsync.renewal.failures"
	MetricLosses          = "gcsync.losses"
	MetricTakeovers       = "gcsync.takeovers"
	MetricHandoffs        = "gcsync.handoffs"
	MetricRequests        = "gcsync.requests"
	MetricThrottled       = "gcsync.throttled"
	MetricResolved        = "gcsync.resolved"
	MetricCost            = "gcsync.cost"
)

// Keys of attributes. [Attributes] says what each holds.
const (
	KeyPrimitive    attribute.Key = "gcsync.primitive"
	KeyOutcome      attribute.Key = "gcsync.outcome"
	KeyClass        attribute.Key = "gcsync.class"
	KeyReason       attribute.Key = "gcsync.reason"
	KeyScope        attribute.Key = "gcsync.scope"
	KeyRequestClass attribute.Key = "gcsync.request.class"
	KeyRequestCode  attribute.Key = "gcsync.request.code"

	KeyName         attribute.Key = "gcsync.name"
	KeyToken        attribute.Key = "gcsync.token"
	KeyContended    attribute.Key = "gcsync.contended"
	KeyLocal        attribute.Key = "gcsync.local"
	KeyPosition     attribute.Key = "gcsync.position"
	KeyAttempts     attribute.Key = "gcsync.attempts"
	KeyRequestsA    attribute.Key = "gcsync.requests.class_a"
	KeyRequestsB    attribute.Key = "gcsync.requests.class_b"
	KeyRequestsFree attribute.Key = "gcsync.requests.free"
	KeyHolder       attribute.Key = "gcsync.holder"
	KeyTicket       attribute.Key = "gcsync.ticket"
	KeySilence      attribute.Key = "gcsync.silence"
	KeyTerm         attribute.Key = "gcsync.term"
)

// Boundaries returns the bucket boundaries of all durations, in seconds: a request takes some tens of milliseconds, a
// wait may take an hour.
func Boundaries() []float64 {
	return []float64{
		0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600,
	}
}

// Prices of a request in US dollars, by its class, in a regional STANDARD bucket
// (https://cloud.google.com/storage/pricing#operations-pricing). [MetricCost] adds them up.
const (
	PriceClassA = 5.00 / 1e6 // creates, patches and listings
	PriceClassB = 0.40 / 1e6 // reads
)
