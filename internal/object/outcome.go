package object

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gcsync/gcsync/internal/clock"
)

// Outcome is what one attempt at a request told about the object.
type Outcome uint8

const (
	// Applied: the service answered that it did what was asked, or returned what was asked for.
	Applied Outcome = iota
	// Refused: the precondition did not hold when the attempt arrived. It does not say that somebody else won: an
	// earlier delivery of the same attempt may be what changed the object. Compare nonces before you conclude.
	Refused
	// Missing: no such object.
	Missing
	// Busy: not applied, and no evidence of anything: throttled, or never sent. Try again later.
	Busy
	// Indeterminate: a timeout, a dropped connection, a fault of the service. Applied, not applied, or applied later.
	Indeterminate
	// Denied: not applied, and trying again will not help until a person changes something.
	Denied
)

func (o Outcome) String() string {
	return [...]string{"applied", "refused", "missing", "busy", "indeterminate", "denied"}[o]
}

// Error is every error of this package: what was asked, of which object, and how it ended.
type Error struct {
	Op      string // create, get, patch, delete, list
	Bucket  string
	Name    string
	Outcome Outcome
	Advice  string // a sentence for a person; empty where there is nothing to do
	Err     error  // what the storage client said; may be nil

	// Sent is when the attempt left. An indeterminate write may have been applied at any time from then on.
	Sent clock.Instant

	// Date is the time that the answer told, rounded down to a second: every one over HTTP does, none over gRPC. Whatever
	// stands on the way can set it, so it is a hint for when to ask [Store.Stamp], and never evidence.
	Date time.Time
}

func (e *Error) Error() string {
	why := cmp.Or(e.Advice, e.Outcome.String())
	if e.Err != nil {
		why = fmt.Sprintf("%s: %v", why, e.Err)
	}
	return fmt.Sprintf("%s (%s gs://%s/%s)", why, e.Op, e.Bucket, Short(e.Name)) // the reason first: names may be long
}

func (e *Error) Unwrap() error { return e.Err }

// Short is a name as errors print it: the beginning of one that is long.
func Short(name string) string {
	if len(name) <= mostNamed {
		return name
	}
	return strings.ToValidUTF8(name[:mostNamed], "") + "..."
}

const mostNamed = 60

// said is what the storage client has said, in words that a person may want to read: without the URL of the request, which is
// long and tells no more than the name, and without pages.
type said struct{ error }

func (s said) Error() string {
	text := s.error.Error()
	var g *googleapi.Error
	var u *url.Error
	switch {
	case errors.As(s.error, &g) && g.Message == "":
		text = fmt.Sprintf("HTTP %d: %s", g.Code, strings.Join(strings.Fields(g.Body), " "))
	case errors.As(s.error, &g):
		text = fmt.Sprintf("HTTP %d: %s", g.Code, g.Message)
	case errors.As(s.error, &u):
		text = u.Err.Error()
	}
	if len(text) > mostSaid {
		text = strings.ToValidUTF8(text[:mostSaid], "") + "..."
	}
	return text
}

func (s said) Unwrap() error { return s.error }

const mostSaid = 300

// OutcomeOf returns the outcome that err stands for; nil is Applied. An error that is not of this package is
// Indeterminate: nothing is known.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return Applied
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Outcome
	}
	return Indeterminate
}

// Classify maps an error of the storage client, over JSON or gRPC, to the outcome of the attempt. This is the one
// place that knows how the service and its client spell their answers.
func (r *Request) Classify(err error) (Outcome, string) {
	if err == nil {
		return Applied, ""
	}
	var g *googleapi.Error
	if errors.As(err, &g) {
		return r.classifyHTTP(g)
	}
	if tokenless(err) {
		return Denied, adviceToken
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return Indeterminate, ""
	}
	// Only an error that carries a gRPC status speaks gRPC: status.FromError calls any other error Unknown.
	if st, ok := status.FromError(err); ok {
		return r.classifyGRPC(st)
	}
	if errors.Is(err, storage.ErrObjectNotExist) {
		// All that the client tells of any 404 when it was to read the content: a reason to look, and no more.
		return Refused, ""
	}
	if strings.HasPrefix(err.Error(), "storage: ") && strings.Contains(err.Error(), "name") {
		return Denied, "illegal name" // refused by the client itself, before anything was sent
	}
	return Indeterminate, ""
}

func (r *Request) classifyHTTP(g *googleapi.Error) (Outcome, string) {
	if g.Code >= 500 || g.Code == http.StatusRequestTimeout || g.Code == http.StatusConflict {
		return Indeterminate, "" // whoever says so
	}
	reason, message, ok := spoken(g)
	if !ok {
		return Indeterminate, foreign(fmt.Sprintf("%d without a reason of its", g.Code))
	}
	switch g.Code {
	case http.StatusPreconditionFailed:
		if reason != reasonCondition && reason != "" {
			return Indeterminate, foreign(fmt.Sprintf("%d with the reason %q", g.Code, reason))
		}
		return Refused, ""
	case http.StatusNotFound:
		switch {
		case r.Op == opCreate || r.Op == opList || isBucketMissing(message):
			return Denied, adviceBucket
		case reason != reasonNotFound && reason != "" || !r.names(message):
			return Indeterminate, foreign(fmt.Sprintf("%d that does not name the object", g.Code))
		}
		return Missing, ""
	case http.StatusTooManyRequests:
		return Busy, ""
	case http.StatusUnauthorized:
		return Denied, adviceCredentials
	case http.StatusForbidden:
		switch reason {
		case "retentionPolicyNotMet", "objectUnderActiveHold":
			return Denied, adviceRetention
		case "rateLimitExceeded", "userRateLimitExceeded":
			return Busy, ""
		}
		if isRetained(message) {
			return Denied, adviceRetention
		}
		return Denied, advicePermission(r.Op)
	}
	return Denied, "" // another 4xx: the request itself is wrong
}

func (r *Request) classifyGRPC(st *status.Status) (Outcome, string) {
	if strings.HasPrefix(st.Message(), unspoken) {
		return Indeterminate, foreign(st.Message())
	}
	switch st.Code() {
	case codes.FailedPrecondition, codes.Aborted, codes.AlreadyExists:
		if isRetained(st.Message()) {
			return Denied, adviceRetention
		}
		return Refused, ""
	case codes.NotFound:
		switch {
		case r.Op == opCreate || r.Op == opList || isBucketMissing(st.Message()):
			return Denied, adviceBucket
		case !r.names(st.Message()):
			return Indeterminate, foreign("NotFound that does not name the object")
		}
		return Missing, ""
	case codes.ResourceExhausted:
		return Busy, ""
	case codes.PermissionDenied:
		if isRetained(st.Message()) {
			return Denied, adviceRetention
		}
		return Denied, advicePermission(r.Op)
	case codes.Unauthenticated:
		return Denied, adviceCredentials
	case codes.InvalidArgument, codes.OutOfRange, codes.Unimplemented:
		return Denied, ""
	}
	return Indeterminate, "" // Unavailable, Internal, DeadlineExceeded, Canceled, Unknown, DataLoss
}

// unspoken is how the gRPC client begins the message of a status that it has made itself, of an answer that was not gRPC
// (google.golang.org/grpc/internal/transport).
const unspoken = "unexpected HTTP status code received from server"

// dateOf returns the time by the service's clock at which it refused a request, zero if the answer did not tell.
func dateOf(err error) time.Time {
	var g *googleapi.Error
	if !errors.As(err, &g) {
		return time.Time{}
	}
	date, _ := http.ParseTime(g.Header.Get("Date")) // zero if it cannot be read
	return date
}

const (
	adviceBucket      = "bucket not found: create it, or correct its name"
	adviceToken       = "no token to authenticate with: check the credentials of the storage client, or the service account of this machine"
	adviceCredentials = "not authenticated: check the credentials of the storage client"
	adviceRetention   = "a retention policy or hold forbids it: use a bucket without one"
)

func advicePermission(op string) string {
	return permission + map[string]string{
		opCreate: "create", opGet: "get", opPatch: "update", opDelete: "delete", opList: "list",
	}[op] + " on the bucket (role roles/storage.objectUser has all that gcsync needs)"
}

// Retained reports whether err says that an object cannot be changed before its retention, or a hold on it, ends.
func Retained(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Advice == adviceRetention
}

const permission = "permission denied: the caller needs storage.objects."

func isPermission(advice string) bool { return strings.HasPrefix(advice, permission) }

// isBucketMissing recognises the sentence for a missing bucket, of the service and of Google's emulator. The storage
// client reports a read, a patch or a delete in a missing bucket as a missing object, and only this sentence tells them
// apart.
func isBucketMissing(message string) bool {
	return strings.Contains(message, "bucket does not exist") ||
		strings.Contains(message, "Bucket ") && strings.Contains(message, " does not exist")
}

// isRetained recognises the service's sentences for an object that a retention policy or a hold protects. The word
// "hold" alone would not do: of a failed precondition the service says that it "did not hold".
func isRetained(message string) bool {
	message = strings.ToLower(message)
	for _, words := range []string{"retention policy", "retention period", "active hold", "event-based hold", "temporary hold"} {
		if strings.Contains(message, words) {
			return true
		}
	}
	return false
}
