package gcstest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// FaultKind is a way in which a request goes wrong. The kinds differ in whether
// the service carries the request out and in what the caller sees of that.
type FaultKind int

const (
	// NoFault lets a request pass. In a script it skips one.
	NoFault FaultKind = iota

	// Refuse answers with Fault.Status in the service's form, 503 if zero, and
	// does not deliver the request.
	Refuse
	// Reset breaks the connection before the request is delivered.
	Reset
	// Stall lets the request hang until its context ends. It is never delivered.
	Stall

	// LoseAnswer delivers the request, and breaks the connection before the
	// answer: the caller cannot know whether it was carried out.
	LoseAnswer
	// FailAfter delivers the request and replaces the answer with Fault.Status,
	// 503 if zero.
	FailAfter
	// Truncate delivers the request and cuts the body of the answer in the
	// middle. An answer without a body is lost as with LoseAnswer.
	Truncate
	// StallAnswer delivers the request, and lets the caller hang until its
	// context ends.
	StallAnswer

	// Ghost breaks the connection at once, and delivers the request Fault.Delay
	// later, when the caller has long given up on it.
	Ghost
	// Duplicate delivers the request, and once more Fault.Delay after that was
	// answered. The caller gets the first answer.
	Duplicate
	// DuplicateLast is Duplicate, but the caller gets the second answer: that of
	// a retry somewhere on the way, which nobody told the caller about.
	DuplicateLast

	// Delay delivers the request after Fault.Delay, even if the caller's context
	// has ended by then.
	Delay
	// DelayAnswer delivers the request, and its answer Fault.Delay late.
	DelayAnswer

	// Foreign answers in the service's place, as a proxy, a load balancer or a
	// captive portal does: with Fault.Status, 404 if zero, and Fault.Body. The
	// request is not delivered.
	Foreign
	// ForeignAnswer delivers the request, and replaces the answer as Foreign does.
	ForeignAnswer
	// WrongDate delivers the request, and puts the Date of the answer forward by
	// Fault.Delay. The times of objects stay as they are.
	WrongDate

	faultKinds
)

var faultNames = [faultKinds]string{
	"NoFault", "Refuse", "Reset", "Stall", "LoseAnswer", "FailAfter", "Truncate", "StallAnswer",
	"Ghost", "Duplicate", "DuplicateLast", "Delay", "DelayAnswer",
	"Foreign", "ForeignAnswer", "WrongDate",
}

// String returns the kind's name, such as "LoseAnswer".
func (k FaultKind) String() string {
	if k < 0 || k >= faultKinds {
		return "FaultKind(" + strconv.Itoa(int(k)) + ")"
	}
	return faultNames[k]
}

// Fault is what happens to one request.
type Fault struct {
	Kind       FaultKind
	Status     int           // of Refuse, FailAfter, Foreign and ForeignAnswer
	Body       Body          // of Foreign and ForeignAnswer
	RetryAfter time.Duration // for the Retry-After header of Refuse and FailAfter, if not zero
	Delay      time.Duration // of Ghost, Duplicate, DuplicateLast, Delay, DelayAnswer and WrongDate
}

// Body is what stands in an answer that is not the service's.
type Body int

const (
	BodyText   Body = iota // "Not Found", or whatever the status is called
	BodyHTML               // a page that says so
	BodyEmpty              // nothing
	BodyJSON               // {}
	BodyErrors             // an error in JSON, as gateways word it, that is not of the service's form
	BodyOther              // an object in the service's form that nobody has asked for; not of a listing
	BodyCut                // the beginning of an answer in JSON
	bodies
)

// Profile makes faults happen at random.
type Profile struct {
	// Odds is the probability of each kind of fault per request. The sum must
	// not exceed 1.
	Odds map[FaultKind]float64

	// MinDelay and MaxDelay bound the Fault.Delay of the kinds that have one.
	// Statuses and bodies of the others are drawn from those that are seen.
	MinDelay, MaxDelay time.Duration
}

// Op describes a request to those who choose its fault.
type Op struct {
	Kind    Kind
	Bucket  string
	Name    string // of the object, or the prefix of a listing
	Query   url.Values
	Seq     int // number of the request among all that went through these Faults, from 1
	Attempt int // which try of one call this is by the client's own account, from 1
}

// Match chooses requests.
type Match func(Op) bool

// On matches the requests of a kind to names that contain a string. [Any]
// matches every kind, and the empty string every name.
func On(kind Kind, name string) Match {
	return func(op Op) bool {
		return (kind == Any || op.Kind == kind) && strings.Contains(op.Name, name)
	}
}

// newOp describes a request.
func newOp(req *http.Request, body []byte) Op {
	t := locate(req.Method, req.URL)
	op := Op{Kind: t.kind, Bucket: t.bucket, Name: t.name, Query: t.query, Attempt: attempt(req.Header)}
	if op.Kind == Insert && op.Name == "" {
		op.Name = bodyName(req.Header.Get("Content-Type"), body)
	}
	return op
}

// bodyName finds the name of an upload that has none in its URL.
func bodyName(contentType string, body []byte) string {
	if strings.HasPrefix(contentType, "multipart/") {
		var err *apiError
		if body, _, _, err = splitMultipart(contentType, body); err != nil {
			return ""
		}
	}
	var r struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(body, &r) != nil {
		return ""
	}
	return r.Name
}

// attempt reads the number that the client counts its own retries with.
func attempt(h http.Header) int {
	_, rest, _ := strings.Cut(strings.Join(h.Values("X-Goog-Api-Client"), " "), "gccl-attempt-count/")
	num, _, _ := strings.Cut(rest, " ")
	return max(1, atoi(num))
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}
