package tracing

import "go.opentelemetry.io/otel/attribute"

// Kind is what sort of instrument a metric has.
type Kind string

// The kinds that there are.
const (
	Histogram     Kind = "histogram"
	Counter       Kind = "counter"
	UpDownCounter Kind = "up-down counter"
)

// Metric is one metric and what it means. Each has [KeyClass] too if the client was given one.
type Metric struct {
	Name  string
	Kind  Kind
	Unit  string // UCUM
	Keys  []attribute.Key
	About string
}

// Metrics returns all metrics there are.
func Metrics() []Metric {
	return []Metric{
		{MetricAcquireDuration, Histogram, "s", []attribute.Key{KeyPrimitive, KeyOutcome},
			"Time from the call until it was granted, refused or given up."},
		{MetricHoldDuration, Histogram, "s", []attribute.Key{KeyPrimitive, KeyOutcome},
			"Time from the grant until the release or the loss."},
		{MetricWaiting, UpDownCounter, "{call}", []attribute.Key{KeyPrimitive},
			"Calls that wait at this moment."},
		{MetricHeld, UpDownCounter, "{hold}", []attribute.Key{KeyPrimitive},
			"Grants that are held at this moment."},
		{MetricRenewals, Counter, "{renewal}", []attribute.Key{KeyPrimitive},
			"Leases extended."},
		{MetricRenewalFailures, Counter, "{attempt}", []attribute.Key{KeyPrimitive},
			"Attempts to extend a lease that did not succeed; most are repeated in time."},
		{MetricLosses, Counter, "{loss}", []attribute.Key{KeyPrimitive, KeyReason},
			"Leases that ended before their holder released them."},
		{MetricTakeovers, Counter, "{takeover}", []attribute.Key{KeyPrimitive, KeyReason},
			"Dead holders of other clients that this one removed."},
		{MetricHandoffs, Counter, "{handoff}", []attribute.Key{KeyPrimitive, KeyScope},
			"Grants that came from a holder before: within the process without a request, or from another process."},
		{MetricRequests, Counter, "{request}", []attribute.Key{KeyRequestClass, KeyRequestCode},
			"Requests to the service."},
		{MetricThrottled, Counter, "{request}", nil,
			"Requests that the service refused because there were too many (429)."},
		{MetricResolved, Counter, "{request}", nil,
			"Writes without an answer of which a look at the object told that they were applied."},
		{MetricCost, Counter, "{USD}", nil,
			"Estimated price of the requests, in US dollars, in a regional STANDARD bucket; storage and traffic are not in it."},
	}
}

// Span is one sort of span and what it means. All have [KeyPrimitive], [KeyName], and [KeyClass] if the client was given
// one; those of Keys that are not known or do not apply are left out.
type Span struct {
	Name  string
	Keys  []attribute.Key
	About string
}

// Spans returns all sorts of spans there are.
func Spans() []Span {
	return []Span{
		{SpanAcquire, []attribute.Key{KeyOutcome, KeyContended, KeyLocal, KeyPosition, KeyAttempts, KeyHolder, KeyTicket, KeyToken,
			KeyRequestsA, KeyRequestsB, KeyRequestsFree},
			"From the call until it was granted, refused or given up. If it waited behind another client, it links to that client's span."},
		{SpanHold, []attribute.Key{KeyOutcome, KeyToken},
			"From the grant until the release or the loss; a child of the caller's span, like the acquisition."},
		{SpanRenew, []attribute.Key{KeyOutcome, KeyAttempts},
			"From the first attempt to renew that failed until one succeeded or the lease was lost; a child of the hold. Where nothing fails there is none."},
		{SpanRelease, []attribute.Key{KeyOutcome, KeyTicket},
			"The request that lets the next client in; a child of the hold. A hand-off within the process has none."},
		{SpanExpire, []attribute.Key{KeyOutcome, KeyReason, KeyHolder, KeyTicket, KeySilence},
			"The removal of another client's dead holder; a child of the acquisition that it stood in the way of, with a link to the dead holder's span."},
		{SpanRun, []attribute.Key{KeyOutcome},
			"The function of a Once or an Every, while it runs; a child of the hold."},
		{SpanTerm, []attribute.Key{KeyOutcome, KeyTerm},
			"A term of office, from the election until it ended; an election has it instead of a hold."},
	}
}

// Attribute is one key, what it holds, and its values if they can be told.
type Attribute struct {
	Key    attribute.Key
	Values []string // nil: any
	About  string
}

// Attributes returns all attributes there are.
func Attributes() []Attribute {
	return []Attribute{
		{KeyPrimitive, []string{Mutex, Semaphore, RWMutex, Once, Every, Election},
			"What the name is used as."},
		{KeyOutcome, []string{Acquired, Refused, Cancelled, Closed, Failed, Released, Unconfirmed, Lost, Renewed, Expired, Changed, Done},
			"How it ended."},
		{KeyClass, nil,
			"The class that the client was given (Options.Class)."},
		{KeyReason, []string{NotRenewed, Deleted, Replaced, TakenOver, ClaimExpired, TTLExpired, SilenceProven, Abandoned},
			"Of a loss: what ended the lease. Of a takeover: what told that the holder is dead."},
		{KeyScope, []string{Local, Remote},
			"Whether the holder before was in the same process."},
		{KeyRequestClass, []string{ClassA, ClassB, Free},
			"The price class of a request: what failed is free, and deletes are."},
		{KeyRequestCode, nil,
			"The answer to a request: ok, the HTTP status or the gRPC code of an error, or none if there was no answer."},
		{KeyName, nil,
			"The name of the lock, as the program gave it. Never on metrics."},
		{KeyToken, nil,
			"The fencing token of the grant."},
		{KeyContended, nil,
			"Whether somebody was there before: in the process or in the bucket."},
		{KeyLocal, nil,
			"Whether the grant came from within the process, without a request."},
		{KeyPosition, nil,
			"How many were there before when the call came to its place: the holder and who waited, tickets in the bucket or goroutines in the process."},
		{KeyAttempts, nil,
			"How many times a ticket was drawn or a lease sought; of a renewal, the requests that failed."},
		{KeyRequestsA, nil,
			"Requests of class A that the acquisition took."},
		{KeyRequestsB, nil,
			"Requests of class B that the acquisition took."},
		{KeyRequestsFree, nil,
			"Free requests that the acquisition took."},
		{KeyHolder, nil,
			"The owner of the holder that was waited for or removed (Options.Owner), and on links of the span linked to."},
		{KeyTicket, nil,
			"The number of the ticket in the bucket."},
		{KeySilence, nil,
			"How long the dead holder was seen to be silent, in seconds."},
		{KeyTerm, nil,
			"The number of the term."},
	}
}

// Values of [KeyPrimitive].
const (
	Mutex     = "mutex"
	Semaphore = "semaphore"
	RWMutex   = "rwmutex"
	Once      = "once"
	Every     = "every"
	Election  = "election"
)

// Values of [KeyOutcome].
const (
	Acquired    = "acquired"    // granted
	Refused     = "refused"     // of a call that does not wait: somebody else has it
	Cancelled   = "cancelled"   // the caller's context ended; not an error
	Closed      = "closed"      // the client was closed
	Failed      = "failed"      // an error
	Released    = "released"    // held until the release
	Unconfirmed = "unconfirmed" // the service has not answered the release
	Lost        = "lost"        // the lease ended before the release; an error
	Renewed     = "renewed"     // extended after all
	Expired     = "expired"     // removed
	Changed     = "changed"     // not removed: it lives, or somebody was faster
	Done        = "done"        // the function returned without an error
)

// Values of [KeyReason].
const (
	NotRenewed = "not_renewed" // the deadline passed
	Deleted    = "deleted"     // the object was deleted
	Replaced   = "replaced"    // another object stands in its place
	TakenOver  = "taken_over"  // somebody else has written to it

	ClaimExpired  = "claim_expired"  // silent for its claim; it had never renewed
	TTLExpired    = "ttl_expired"    // silent for its TTL
	SilenceProven = "silence_proven" // silent for twice its lease by the service's clock
	Abandoned     = "abandoned"      // it had been given up by its own client; no takeover
)

// Values of [KeyScope].
const (
	Local  = "local"
	Remote = "remote"
)

// Values of [KeyRequestClass].
const (
	ClassA = "a"
	ClassB = "b"
	Free   = "free"
)
