package object

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"sync"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/compute/metadata"
	"golang.org/x/oauth2"
)

// ErrNoAnswer says that the service has not answered for a while, or something else in its place.
var ErrNoAnswer = errors.New("no answer from the service")

// AnswerTime bounds calls that wait for nobody but the service.
const AnswerTime = 10 * time.Second

// Bound returns a context for a call that waits for nobody but the service: it ends in time, with a cause that says so.
func Bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, AnswerTime, tooLong{})
}

// tooLong ends such a call. Most of the time it is for want of an answer; what the last one was, the error tells.
type tooLong struct{}

func (tooLong) Error() string { return fmt.Sprintf("given up after %v", AnswerTime) }
func (tooLong) Unwrap() error { return ErrNoAnswer }

// Ask tries until the service says something, but gives up when it has said nothing for [AnswerTime].
func (s *Store) Ask(ctx context.Context, b Backoff, try func() error) error {
	for begun := time.Now(); ; {
		err := try()
		if o := OutcomeOf(err); o != Busy && o != Indeterminate {
			return err
		}
		if time.Since(begun) >= AnswerTime {
			return fmt.Errorf("%w within %v: %w", ErrNoAnswer, AnswerTime, err)
		}
		if !Pause(ctx, b) {
			return s.Because(ctx, err)
		}
	}
}

// Ended returns why ctx has ended: its cause, which to errors.Is is ctx.Err() as well; nil if it has not.
func Ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if err == nil || errors.Is(cause, err) {
		return cause
	}
	return &ended{cause, err}
}

type ended struct{ cause, err error }

func (e *ended) Error() string   { return e.cause.Error() }
func (e *ended) Unwrap() []error { return []error{e.cause, e.err} }

// reach follows whether the service can be reached, for each kind of request by itself: where creates fail, reads may do.
type reach struct {
	logger *slog.Logger // nil: nobody reads

	mu     sync.Mutex
	ops    map[string]*outage
	denied map[string]time.Time // folders to which requests of a kind have been denied since then, though others were answered
}

// outage is for how long requests of a kind have had no answer.
type outage struct {
	answered bool          // one was, at some time
	since    time.Time     // when the first left that was not; zero: the last one was
	err      error         // what the last one came to
	told     time.Duration // after how long people were told
}

// patience is for how long a denial is taken for a hiccup. A token may be missing for some seconds when a machine starts, and
// a stray 401 comes in the middle of hours of good answers.
const patience = 8 * time.Second

// When people are told: first after firstTold, then each time after toldTimes as long, but not more than lastTold apart.
const (
	firstTold = 3 * time.Second
	toldTimes = 3
	lastTold  = 10 * time.Minute
)

// judge takes in how a request has ended that was sent at the given moment; a nil e: well. A denial that may pass is made
// Indeterminate until it has lasted, unless there was never anything else.
func (s *Store) judge(q *Request, e *Error, sent time.Time) {
	r := s.reach
	r.mu.Lock()
	defer r.mu.Unlock()
	op := r.ops[q.Op]
	if op == nil {
		if r.ops == nil {
			r.ops, r.denied = make(map[string]*outage), make(map[string]time.Time)
		}
		op = new(outage)
		r.ops[q.Op] = op
	}
	doubtful := e != nil && e.Outcome == Denied && passing(e.Advice)
	switch {
	case e == nil || e.Outcome != Indeterminate && !doubtful: // the service has spoken
		if len(r.denied) > 0 {
			delete(r.denied, q.folder())
		}
		if op.told > 0 && r.logger != nil {
			r.logger.Log(context.Background(), slog.LevelWarn, "gcsync: the service answers again",
				"bucket", q.Bucket, "operation", q.Op, "after", time.Since(op.since).Round(time.Millisecond))
		}
		*op = outage{answered: true}
		return
	case doubtful && !op.answered && e.Advice != adviceToken:
		return // there was never anything else
	}
	if op.since.IsZero() {
		op.since = sent
	}
	op.err = e
	r.tell(q, op)
	if doubtful {
		since, known := r.denied[q.folder()]
		switch {
		case !known:
			r.denied[q.folder()] = sent
		case time.Since(since) >= patience:
			delete(r.denied, q.folder())
			return
		}
		e.Outcome = Indeterminate
	}
}

// folder is what a denial of the request goes for.
func (r *Request) folder() string { return r.Op + " " + path.Dir(r.Name) }

// tell tells people of an outage, ever more rarely. r.mu is held.
func (r *reach) tell(q *Request, op *outage) {
	lasts, due := time.Since(op.since), firstTold
	if op.told > 0 {
		due = min(toldTimes*op.told, op.told+lastTold)
	}
	if lasts < due || r.logger == nil {
		return
	}
	op.told = lasts
	r.logger.Log(context.Background(), slog.LevelWarn, "gcsync: the service does not answer, and requests are repeated",
		"bucket", q.Bucket, "operation", q.Op, "for", lasts.Round(time.Millisecond), "error", op.err)
}

// Trouble returns an ErrNoAnswer that tells for how long the service has not answered requests of some kind, and why; nil if
// it has answered the last of every kind, or if it is too early to call it trouble.
func (s *Store) Trouble() error {
	r := s.reach
	r.mu.Lock()
	defer r.mu.Unlock()
	var worst *outage
	for _, op := range r.ops {
		if !op.since.IsZero() && (worst == nil || op.since.Before(worst.since)) {
			worst = op
		}
	}
	if worst == nil {
		return nil
	}
	lasts := time.Since(worst.since)
	if worst.answered && lasts < troubling {
		return nil
	}
	return fmt.Errorf("%w for %v: %w", ErrNoAnswer, lasts.Round(time.Millisecond), worst.err)
}

// troubling is how long a service that has answered before may be silent before a wait is put down to that.
const troubling = time.Second

// Because returns err, which a call ended with, and says of what ended ctx, if that has ended, whether it was the service
// that the call had waited for.
func (s *Store) Because(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	why, trouble := Ended(ctx), s.Trouble()
	switch {
	case trouble != nil && errors.Is(why, ErrNoAnswer): // we have given up ourselves
		return trouble
	case trouble != nil:
		return fmt.Errorf("%w: %w", why, trouble)
	case errors.Is(err, context.Cause(ctx)) && errors.Is(err, ctx.Err()):
		return err
	}
	return fmt.Errorf("%w: %w", why, err)
}

// passing reports whether a denial may pass by itself.
func passing(advice string) bool {
	switch advice {
	case adviceBucket, adviceCredentials, adviceToken:
		return true
	}
	return isPermission(advice)
}

// tokenless reports whether err is the refusal of whoever gives out the tokens that requests bear: of the token endpoint, or
// of the metadata server of the machine.
func tokenless(err error) bool {
	var endpoint *auth.Error
	var older *oauth2.RetrieveError
	var machine *metadata.Error
	var none metadata.NotDefinedError
	var answer *http.Response
	switch {
	case errors.As(err, &none):
		return true
	case errors.As(err, &machine):
		return machine.Code >= 400 && machine.Code < 500
	case errors.As(err, &endpoint):
		answer = endpoint.Response
	case errors.As(err, &older):
		answer = older.Response
	}
	return answer != nil && answer.StatusCode >= 400 && answer.StatusCode < 500 && answer.StatusCode != http.StatusTooManyRequests
}
