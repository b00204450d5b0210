package queue

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gcsync/gcsync/internal/object"
)

// Tidy removes what the dead have left of a name, if nothing of it was written for the given time, and returns how many
// objects there are less.
//
// It knows no rules of its own: it takes all of the name for a moment, which buries whoever is silent under our eyes, as
// any other caller would. The last ticket of each row stays, for ever: it tells which numbers were used. A create of somebody who
// was paused for days may still arrive, and on a row that began again at 0 its number would be the highest, and real.
func (q *Queue) Tidy(ctx context.Context, name string, unused time.Duration) (removed int, err error) {
	path, err := NewPath(q.cfg.Prefix, name)
	if err != nil {
		return 0, err
	}
	before, f, err := q.leftovers(ctx, path)
	if err != nil || len(before) == 0 {
		return 0, err
	}
	at, err := q.present(ctx, before)
	if err != nil || unused > 0 && at.Sub(f.used) < unused { // the time is told in whole seconds
		return 0, err
	}
	busy := len(f.tickets) > 1 || len(f.entries) > 0 && len(f.tickets) > 0
	for _, slot := range f.slots {
		busy = busy || len(slot) > 1
	}
	if busy {
		if err := q.pass(ctx, name, f); err != nil {
			return 0, err
		}
	}
	for _, o := range before {
		if _, dir, _ := split(o.Name); dir == dirWitnesses && o.Metadata[keyNonce] != "" && at.Sub(o.Created) > witnessAge {
			if err := q.cfg.Store.Delete(ctx, o.Name, o.Version); object.OutcomeOf(err) == object.Denied {
				return 0, err
			}
		}
	}
	after, _, err := q.leftovers(ctx, path)
	return old(before) - old(after), err
}

// old counts objects without the calls of the roll, which come and go by themselves.
func old(objects []object.Object) (n int) {
	for _, o := range objects {
		if !strings.Contains(o.Name, dirWitnesses+callPrefix) {
			n++
		}
	}
	return n
}

// leftovers lists all that there is of a name.
func (q *Queue) leftovers(ctx context.Context, path Path) (all []object.Object, f *folder, err error) {
	for _, prefix := range [...]string{path.tickets(), path.witnesses(), path.holders(), path.slots()} {
		objects, err := q.listing(ctx, prefix)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, objects...)
	}
	f = &folder{path: path}
	for _, found := range q.folders(all) {
		f = found
	}
	return all, f, nil
}

// pass takes the name as a whole and gives it back.
func (q *Queue) pass(ctx context.Context, name string, f *folder) error {
	row := f.row(name)
	if row.Kind == Semaphore {
		n := max(1, slices.Max(slices.Collect(maps.Keys(f.slots)))+1) // of all who ever used it
		s, err := q.Enter(ctx, name, n, n)
		if err != nil {
			return err
		}
		return s.Release()
	}
	h, err := q.Acquire(ctx, row.Kind, name)
	if err != nil {
		return err
	}
	return h.Release()
}
