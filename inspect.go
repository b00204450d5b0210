package gcsync

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/queue"
	"github.com/gcsync/gcsync/lease"
)

// State is what the objects of a name tell, for people: who holds it and who waits, in order. It was already old when
// it was read, so nothing may be decided by it; to decide, lock. Its times are the service's.
type State struct {
	Name  string
	Kind  string // "mutex", "rwmutex", "semaphore", "once", "every" or "election"; empty: nobody ever came for it
	Slots int64  // of a semaphore, as who came last says

	// Detail is, of an election, what its leader tells; of an every, the beginning of the last slot that is done; of a
	// once, "done" if it is.
	Detail string

	Holders []Claim // those who hold it, of a mutex one at most; the readers of one process are one; of a semaphore by slots
	Waiters []Claim // those who wait, in the order in which they will have it; of a semaphore slot by slot

	Used time.Time // when anything of it last changed; zero: never
	At   time.Time // when the state was read; over gRPC by this machine's clock
}

// Claim is one holder or waiter: a process, and whichever of its goroutines has its turn.
type Claim struct {
	Owner string // Options.Owner
	Host  string

	// Token is the fencing token of the process's first turn, of a waiter the one that it will have. Turns that its
	// goroutines pass on among themselves have the tokens that follow.
	Token int64

	Came time.Time // when it came for the name; where there is no queue, nothing tells, and it is Renewed

	// Since is when it began to hold the name, as it wrote when it last renewed. It is zero for a waiter, and for a holder that
	// has not renewed: one that lives holds for less than a third of its lease then. Where there is no queue nothing tells.
	Since time.Time

	Renewed time.Time     // when it last renewed its lease; zero: not yet
	Lease   time.Duration // how long after that it is to be left alone
	Slot    int64         // the number of a semaphore's slot; -1: it waits to gather several

	// Expires is Renewed + Lease: a holder that does not renew until then may be removed by others. It is zero for one
	// that has not renewed yet, whose lease began when it got its turn, which nothing tells.
	Expires time.Time
}

// Inspect returns the state of a name. Of one that nobody ever used it returns the state of a name that is free. It
// takes a listing or two and a read that costs nothing, and changes nothing in the bucket.
//
// Those who wait for what is kept in a single object, a once, an every or an election, leave no trace and are not told.
func (c *Client) Inspect(ctx context.Context, name string) (*State, error) {
	var row *queue.Row
	err := c.call(ctx, func(ctx context.Context) (err error) {
		row, err = c.queue.Inspect(ctx, name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("gcsync: inspect %q: %w", object.Short(name), err)
	}
	return c.stateOf(row), nil
}

// List returns the states of all names that begin with prefix, in the order of the names. It lists all objects below the
// prefix, a request each thousand, and changes nothing in the bucket. An error ends the sequence.
func (c *Client) List(ctx context.Context, prefix string) iter.Seq2[*State, error] {
	return func(yield func(*State, error) bool) {
		var rows []*queue.Row
		err := c.call(ctx, func(ctx context.Context) (err error) {
			rows, err = c.queue.Rows(ctx, prefix)
			return err
		})
		if err != nil {
			yield(nil, fmt.Errorf("gcsync: list %q: %w", prefix, err))
			return
		}
		for _, row := range rows {
			if row.Kind != "" && row.Run != nil { // a lock, and something else of the same name
				beside := *row
				beside.Kind, beside.Holders, beside.Behind = "", nil, nil
				if !yield(c.stateOf(&beside), nil) {
					return
				}
			}
			if !yield(c.stateOf(row), nil) {
				return
			}
		}
	}
}

// Break takes a name away from the holder that has the token, as [Client.Inspect] told it or any token of the same
// holder's, and from nobody else; if somebody else holds it, or nobody, the error is [ErrStale]. The next in line has it
// at once.
//
// It is for a holder that is known to be dead, whose lease is long. A live one learns that it has lost the name only
// when it next renews, within a third of its TTL, and until then two believe that they hold it.
func (c *Client) Break(ctx context.Context, name string, token int64) error {
	err := c.call(ctx, func(ctx context.Context) error {
		err := c.queue.Evict(ctx, name, token)
		if !errors.Is(err, ErrStale) {
			return err
		}
		path, err := queue.NewPath(c.prefix, name)
		if err != nil {
			return err
		}
		broken, err := c.terms.Break(ctx, string(path)+"/run", token)
		if err == nil && !broken {
			err = ErrStale
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("gcsync: break %q: %w", object.Short(name), err)
	}
	return nil
}

// Tidy removes what crashed clients have left of a name, if nothing of it was written for the given time, and returns how
// many objects there are less. It waits in the queue like anybody else and holds the name for a moment, which buries the
// dead; ctx bounds the waiting. If somebody holds it and lives, the error wraps the cause of ctx and nothing is changed.
//
// One empty object stays of each name for as long as the bucket is in use, of a semaphore one of each slot and two more: it
// tells which numbers were used, and to delete it is safe only with every client stopped.
func (c *Client) Tidy(ctx context.Context, name string, unused time.Duration) (removed int, err error) {
	err = c.call(ctx, func(ctx context.Context) (err error) {
		removed, err = c.queue.Tidy(ctx, name, unused)
		return err
	})
	if err != nil {
		return removed, fmt.Errorf("gcsync: tidy %q: %w", object.Short(name), err)
	}
	return removed, nil
}

func (c *Client) stateOf(row *queue.Row) *State {
	s := &State{Name: row.Name, Kind: row.Kind, Slots: row.Slots, Used: row.Used, At: row.At}
	for i := range row.Holders {
		s.Holders = append(s.Holders, claimOf(&row.Holders[i]))
	}
	for i := range row.Behind {
		s.Waiters = append(s.Waiters, claimOf(&row.Behind[i]))
	}
	if s.Kind == "" && row.Run != nil {
		c.tell(s, *row.Run)
	}
	return s
}

// tell fills in what the single object of a name tells.
func (c *Client) tell(s *State, run object.Object) {
	s.Kind = run.Metadata[markKind]
	switch s.Kind {
	case kindOnce:
		r := &register{c: c, path: strings.TrimSuffix(run.Name, "/run")}
		if at, err := r.round(run); err == nil && r.marked(run, at) != nil {
			s.Detail = "done"
		}
	case kindEvery:
		s.Detail = run.Metadata[markSlot]
	case kindElection:
		s.Detail = run.Metadata[markValue]
	}
	if l := lease.StateOf(c.terms.Bucket, run, s.At); !l.Expired {
		s.Holders = []Claim{{
			Owner: l.Owner, Host: run.Metadata[markHost], Token: l.Token,
			Came: l.Updated, Renewed: l.Updated, Lease: l.TTL, Expires: l.Expires,
		}}
	}
}

func claimOf(p *queue.Place) Claim {
	c := Claim{Owner: p.Owner, Host: p.Host, Token: p.Token, Came: p.Came, Since: p.Began, Renewed: p.Renewed, Lease: p.Lease, Slot: p.Slot}
	if !c.Renewed.IsZero() {
		c.Expires = c.Renewed.Add(c.Lease)
	}
	return c
}
