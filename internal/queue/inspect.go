package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gcsync/gcsync/internal/object"
)

// What people want to know of a queue, read from a listing. Nothing here is evidence: a listing is already old when it
// arrives, and a gap in it proves nothing.

// Row is the queue of one name as a listing showed it.
type Row struct {
	Name    string
	Kind    string    // empty: no ticket was ever drawn, or none that can be read
	Slots   int64     // of a semaphore, as the newest ticket says
	Holders []Place   // those who are in, in the order in which they came
	Behind  []Place   // those who wait, in order
	Used    time.Time // when anything of it last changed, by the service's clock
	At      time.Time // when the row was read: by the service's clock, or over gRPC by this machine's

	Run *object.Object // what is kept in a single object of the name, in place of a queue or beside it; nil: nothing
}

// Place is one ticket that somebody holds the name with, or waits with.
type Place struct {
	Token       int64 // of the ticket's first local grant
	Owner, Host string
	Came        time.Time     // when the ticket was drawn
	Began       time.Time     // since when it holds, by what it wrote when it last renewed; zero: it has not
	Renewed     time.Time     // when the holder was last heard of; zero: it has not renewed yet
	Lease       time.Duration // how long it may be silent
	Slot        int64         // of a semaphore; -1 for one that waits to gather several

	kept  object.Object // what keeps it in: a baton, or an entry of the registry
	baton *record       // nil: an entry
}

// Inspect reads the row of one name. It changes nothing.
func (q *Queue) Inspect(ctx context.Context, name string) (*Row, error) {
	path, err := NewPath(q.cfg.Prefix, name)
	if err != nil {
		return nil, err
	}
	objects, err := q.listing(ctx, path.tickets())
	if err != nil {
		return nil, err
	}
	if len(objects) == 0 {
		if objects, err = q.listing(ctx, string(path)+leafRun); err != nil {
			return nil, err
		}
	}
	row := q.row(name, path, objects)
	if more := map[string]string{Semaphore: path.slots(), RWMutex: path.holders()}[row.Kind]; more != "" {
		entries, err := q.listing(ctx, more)
		if err != nil {
			return nil, err
		}
		objects = append(objects, entries...)
		row = q.row(name, path, objects)
	}
	row.At, err = q.present(ctx, objects)
	return row, err
}

func (q *Queue) row(name string, path Path, objects []object.Object) *Row {
	for _, f := range q.folders(objects) {
		if f.path == path {
			return f.row(name)
		}
	}
	return &Row{Name: name}
}

// Rows reads the rows of all names that begin with prefix, in the order of their names. It changes nothing.
func (q *Queue) Rows(ctx context.Context, prefix string) ([]*Row, error) {
	// Segments are escaped as a whole, so the last one, which may be half a segment, is left for the filter.
	whole := prefix[:strings.LastIndex(prefix, "/")+1]
	objects, err := q.listing(ctx, q.cfg.Prefix+escape(whole))
	if err != nil {
		return nil, err
	}
	at, err := q.present(ctx, objects)
	if err != nil {
		return nil, err
	}
	var rows []*Row
	for _, f := range q.folders(objects) {
		name, err := url.PathUnescape(strings.TrimPrefix(string(f.path), q.cfg.Prefix))
		if err != nil || !strings.HasPrefix(name, prefix) {
			continue // not of our making, or not asked for
		}
		row := f.row(name)
		row.At = at
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b *Row) int { return strings.Compare(a.Name, b.Name) })
	return rows, nil
}

// listing lists until there is an answer.
func (q *Queue) listing(ctx context.Context, prefix string) ([]object.Object, error) {
	var all []object.Object
	err := q.cfg.Store.Ask(ctx, q.cfg.Backoff(), func() (err error) {
		all, _, err = q.cfg.Store.List(ctx, prefix)
		if err == nil && len(all) == 0 { // as good as any empty answer: is it the service that answers?
			if _, err = q.cfg.Store.Get(ctx, prefix+"0"); object.OutcomeOf(err) == object.Missing {
				err = nil
			}
		}
		return err
	})
	return all, err
}

// present returns the time by the service's clock, for people, as the refusal of a read tells it for nothing; over gRPC,
// where it does not, or if there is nothing to read, this machine's.
func (q *Queue) present(ctx context.Context, objects []object.Object) (at time.Time, err error) {
	at = q.cfg.Store.Clock().Now().Wall()
	if len(objects) == 0 {
		return at, nil
	}
	last := objects[len(objects)-1]
	err = q.cfg.Store.Ask(ctx, q.cfg.Backoff(), func() error {
		_, err := q.cfg.Store.GetIf(ctx, last.Name, object.Version{Gen: last.Gen, Meta: last.Meta + 1<<32})
		var refused *object.Error
		switch outcome := object.OutcomeOf(err); {
		case outcome == object.Refused && errors.As(err, &refused) && !refused.Date.IsZero():
			at = refused.Date
		case outcome == object.Denied, outcome == object.Busy, outcome == object.Indeterminate:
			return err
		}
		return nil
	})
	return at, err
}

// folder is all that was listed of one name.
type folder struct {
	path    Path
	tickets []*record
	entries []*entry
	slots   map[int64][]*record // of a semaphore; at -1 those who wait to gather several
	run     *object.Object
	used    time.Time
}

// folders sorts a listing by names. What is in nobody's folder is left out.
func (q *Queue) folders(objects []object.Object) []*folder {
	var all []*folder
	known := make(map[Path]*folder)
	for _, o := range objects {
		at, dir, ok := split(o.Name)
		if !ok {
			continue
		}
		p, i, ofSlot := at.slotOf()
		f := known[p]
		if f == nil {
			f = &folder{path: p, slots: make(map[int64][]*record)}
			known[p] = f
			all = append(all, f)
		}
		if o.Updated.After(f.used) {
			f.used = o.Updated
		}
		l := &line{cfg: &q.cfg, store: q.cfg.Store, path: at}
		switch dir {
		case dirTickets:
			switch r, err := l.parse(o); {
			case err != nil: // nobody's
			case ofSlot:
				f.slots[i] = append(f.slots[i], r)
			default:
				f.tickets = append(f.tickets, r)
			}
		case dirHolders:
			if e, err := l.parseEntry(o); err == nil {
				f.entries = append(f.entries, e)
			}
		case leafRun:
			f.run = &o
		}
	}
	return all
}

// leafRun is the single object of what needs no queue.
const leafRun = "/run"

// split takes an object's name apart: the path of the lock that it belongs to, and the folder below that.
func split(name string) (p Path, dir string, ok bool) {
	if p, ok := strings.CutSuffix(name, leafRun); ok {
		return Path(p), leafRun, true
	}
	for _, dir := range [...]string{dirTickets, dirWitnesses, dirHolders} {
		if i := strings.LastIndex(name, dir); i >= 0 && !strings.Contains(name[i+len(dir):], "/") {
			return Path(name[:i]), dir, true
		}
	}
	return "", "", false
}

// row reads the tickets and the registry of one name.
func (f *folder) row(name string) *Row {
	row := &Row{Name: name, Used: f.used, Run: f.run}
	if len(f.tickets) == 0 {
		return row
	}
	slices.SortFunc(f.entries, func(a, b *entry) int { return cmp.Compare(a.n, b.n) })
	top, head := order(f.tickets)
	row.Kind = top.kind
	if row.Kind == Semaphore {
		var newest time.Time
		for _, i := range slices.Sorted(maps.Keys(f.slots)) {
			row.places(f.slots[i], i, i >= 0)
			if top, _ := order(f.slots[i]); top.size > 0 && top.Created.After(newest) {
				row.Slots, newest = top.size, top.Created
			}
		}
		return row
	}
	var waiting []Place
	for _, e := range f.entries {
		p := placeOf(e.token(), e.Object, e.Object, &e.term)
		if e.base != top.base || e.n <= head {
			row.Holders = append(row.Holders, p)
		} else {
			waiting = append(waiting, p)
		}
	}
	row.places(f.tickets, 0, len(row.Holders) == 0) // if nobody else is in, whoever is at the head is
	row.Behind = append(row.Behind, waiting...)
	slices.SortFunc(row.Behind, func(a, b Place) int { return cmp.Compare(a.Token, b.Token) })
	return row
}

// order sorts tickets, and returns the tail and the number of the head's baton.
func order(tickets []*record) (top *record, head int64) {
	slices.SortFunc(tickets, func(a, b *record) int { return cmp.Compare(a.n, b.n) })
	top = tickets[len(tickets)-1]
	return top, chain(tickets, top, make(map[int64]int64))
}

// places adds those who stand in the row of a slot; the first of them is in, if the head is.
func (row *Row) places(tickets []*record, slot int64, in bool) {
	_, head := order(tickets)
	for i, r := range tickets {
		if i == 0 || r.n <= head {
			continue // below the row, or the baton of the head
		}
		baton := tickets[i-1]
		if baton.abandoned {
			continue // nobody stands here any more; the place goes when its turn comes
		}
		p := placeOf((r.base+r.n)<<passBits, r.Object, baton.Object, &baton.term)
		p.baton, p.Slot = baton, slot
		switch {
		case r.n == head+1 && in:
			row.Holders = append(row.Holders, p)
		case r.n > head+1 || slot >= 0: // who gathers stands in the rows of slots as well
			row.Behind = append(row.Behind, p)
		}
	}
}

// placeOf is the place of whoever came with one object and is kept alive by another.
func placeOf(token int64, came, kept object.Object, t *term) Place {
	p := Place{
		Token: token,
		Owner: came.Metadata[keyOwner],
		Host:  came.Metadata[keyHost],
		Came:  came.Created,
		Lease: t.lease(),
		kept:  kept,
	}
	if t.renewal != "" {
		p.Renewed = kept.Updated
		if ms, err := strconv.ParseInt(kept.Metadata[keyHeld], 10, 64); err == nil {
			p.Began = kept.Updated.Add(-time.Duration(ms) * time.Millisecond)
		}
	}
	return p
}

// ErrStale says that a name is not held under the token that was given.
var ErrStale = errors.New("not held under this token")

// Evict ends the tenure of the holder that has the token, and of nobody else: it deletes what keeps it in. Which of the
// holder's local turns the token is of makes no difference.
func (q *Queue) Evict(ctx context.Context, name string, token int64) error {
	row, err := q.Inspect(ctx, name)
	if err != nil {
		return err
	}
	var at *Place
	for i := range row.Holders {
		switch p := &row.Holders[i]; {
		case p.Token != token && (p.baton == nil || p.Token>>passBits != token>>passBits):
		case at != nil:
			return fmt.Errorf("slots %d and %d have holders of this token: wait for one of them to end", at.Slot, p.Slot)
		default:
			at = p
		}
	}
	if at == nil {
		return ErrStale
	}
	path, err := NewPath(q.cfg.Prefix, name)
	if err != nil {
		return err
	}
	if row.Kind == Semaphore {
		path = path.slot(at.Slot)
	}
	l := &line{cfg: &q.cfg, store: q.cfg.Store, path: path, kind: row.Kind}
	kept, baton := at.kept, at.baton
	if baton != nil {
		var gone bool
		err := q.cfg.Store.Ask(ctx, q.cfg.Backoff(), func() (err error) {
			gone, err = l.isGone(ctx, baton.n-1, baton.prev) // tickets are deleted in order, whatever the listing said
			return err
		})
		if err != nil || !gone {
			return cmp.Or(err, ErrStale)
		}
	}
	return q.cfg.Store.Ask(ctx, q.cfg.Backoff(), func() error {
		gone, err := l.remove(ctx, kept.Name, object.Version{Gen: kept.Gen})
		if gone {
			return nil
		}
		return err
	})
}
