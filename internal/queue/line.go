package queue

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/tasks"
	"github.com/gcsync/gcsync/internal/telemetry"
)

// Config is what all queues of one client have in common.
type Config struct {
	Store   *object.Store
	Tasks   *tasks.Group
	Waiting context.Context // ends when the client closes: nobody waits any more, but releases go on
	Prefix  string          // of every object's name
	Owner   string          // who we are, for people
	Host    string          // where we are, for people
	TTL     time.Duration   // how long our silence lasts before others take over, once we have renewed
	Claim   time.Duration   // the same before we have renewed, for whoever builds on our tickets
	Linger  time.Duration   // how long an unlocked name that is in heavy use here is kept; negative: never
	Backoff func() object.Backoff
	Logger  *slog.Logger
	Event   func(Event, string) // told of every branch of the protocol that was taken; nil in production

	Telemetry *telemetry.Telemetry

	told *sync.Map // paths of the semaphores of which it was told that others speak of another size
}

// line is the queue of one name as this process sees it: the protocol, without the process's own goroutines, of which
// at most one at a time acts on it. What it remembers only ever saves requests; nothing that it decides rests on memory
// but what its comments prove.
type line struct {
	cfg   *Config
	store *object.Store
	path  Path
	kind  string
	about telemetry.Subject // of what is told

	writes bool // for the writers of a lock that has readers, too: they are in only when nobody else is

	// What only the one goroutine that acts on the line touches.
	size   int64  // of a semaphore, for its tickets to tell
	hint   *tail  // what a listing of all slots has shown of this row, for the next ticket; nil: nothing
	brief  bool   // who only tries gives up as soon as somebody was faster, for there are other slots
	behind func() // told that a ticket of ours has somebody before it; may be nil

	mu       sync.Mutex
	memory   memory        // of our last ticket
	tried    *attempt      // a create whose fate we do not know yet
	cycle    time.Duration // how long one holder takes from grant to grant, estimated
	sighting sighting      // what we last saw at the head
	suspect  *suspicion    // the holder that our last try found in its way

	story     story
	testified ref // the generation and metageneration of which we last left a witness
}

// memory is our last ticket, as we left it.
type memory struct {
	ticket *ticket
	at     clock.Instant // when its release was sent
	gone   bool          // a read has proven the baton before it gone
	queued bool          // somebody was before or behind us: the tail has moved on
}

// freshness is how long memory of the tail is worth a guess: after that a LIST is cheaper than a wasted create.
const freshness = time.Second

// attempt is a create that was refused, throttled or not answered, and that may be there all the same.
type attempt struct {
	n     int64
	nonce string
	base  *record
	sent  clock.Instant
}

// ticket is our own place in the queue.
type ticket struct {
	record               // as created
	first  clock.Instant // when the first attempt to create it left
	looked clock.Instant // when the last look left that found no call
	baton  *record       // the ticket before it, which only we may change
	grand  int64         // generation of the ticket before that, whose absence makes us the head; 0: there is none

	// What is known of those ahead.
	head   int64           // the lowest number that may still be there
	proven bool            // the number below head is proven gone
	gens   map[int64]int64 // generations of the chain, as far as known
	from   clock.Instant   // our lease counts from here: the last moment at which we were certainly not the head
	depth  int64           // how many batons were ahead when we queued
}

// token is the fencing token of the pass'th local grant of the ticket.
func (t *ticket) token(pass int64) int64 { return (t.base+t.n)<<passBits | pass }

const (
	passBits  = 20
	maxPasses = 1<<(passBits-1) - 1 // the upper half is the readers'
)

func (l *line) get(ctx context.Context, n int64) (object.Object, error) {
	return l.store.Get(ctx, l.path.ticket(n))
}

// remove deletes one version of an object and reports whether it is gone: deleted now, or before. That it was deleted now is
// not certain, for the answer to a delete has nothing by which it could be told from another's; who believes more for it
// than that the delete need not be repeated looks again ([line.absent]).
func (l *line) remove(ctx context.Context, name string, v object.Version) (gone bool, err error) {
	err = l.store.Delete(ctx, name, v)
	switch object.OutcomeOf(err) {
	case object.Applied, object.Missing:
		return true, nil
	case object.Refused:
		// Another version stands there. Without a metageneration in the condition that is another generation, and
		// the one that we meant is gone.
		return v.Meta == 0, nil
	}
	return false, err
}

// removeAll retries remove until the version is gone, ctx ends or it can never be done.
func (l *line) removeAll(ctx context.Context, name string, v object.Version) error {
	backoff := l.cfg.Backoff()
	for {
		gone, err := l.remove(ctx, name, v)
		if gone || object.OutcomeOf(err) == object.Denied {
			return err
		}
		l.event(DeleteRetried, none)
		if !object.Pause(ctx, backoff) {
			return err
		}
	}
}

// event tells whoever listens that a branch of the protocol was taken, with ticket n or with none. It is on the way of
// every Lock, so it costs nothing while nobody listens.
func (l *line) event(e Event, n int64, args ...any) {
	if l.cfg.Event != nil {
		l.cfg.Event(e, string(l.path))
	}
	level := slog.LevelDebug
	if e.surprising() {
		level = slog.LevelWarn
	}
	if !l.cfg.Logger.Enabled(context.Background(), level) {
		return
	}
	if n != none {
		args = append(args, "ticket", n)
	}
	l.cfg.Logger.Log(context.Background(), level, "gcsync: "+e.String(), append([]any{"queue", l.store.URL(string(l.path))}, args...)...)
}

// none is no ticket's number.
const none = -1
