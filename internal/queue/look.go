package queue

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/telemetry"
)

// Where to queue for a slot. Nothing here is evidence: a listing says where to try, and the row itself who holds it.

// view is what a listing showed of a semaphore's rows.
type view map[int64]*sight

// sight is one row in a listing. One that was never used is not in it.
type sight struct {
	recs  []*record
	end   *tail
	crowd int64     // the processes in the row: 0 is free
	since time.Time // since when its holder is there, as far as a listing tells
}

func (v view) crowd(i int64) int64 {
	if v[i] == nil {
		return 0
	}
	return v[i].crowd
}

// tail is the tail to build on, fresh for each use.
func (v view) tail(i int64) *tail {
	if v[i] == nil {
		return nil
	}
	t := *v[i].end
	t.gens = make(map[int64]int64)
	t.head = chain(v[i].recs, t.base, t.gens)
	return &t
}

// view lists all rows.
func (s *Slots) view(ctx context.Context, call *telemetry.Call) (view, error) {
	ctx = telemetry.Under(ctx, call.Context())
	backoff := s.cfg.Backoff()
	if err := s.agree(ctx, backoff); err != nil {
		return nil, err
	}
	for {
		objects, _, err := s.cfg.Store.List(ctx, s.path.slots())
		if err == nil {
			v := s.sort(objects)
			s.compare(v)
			return v, nil
		}
		if !retryable(err) || !object.Pause(ctx, backoff) {
			return nil, err
		}
	}
}

// agree makes sure, once, that the name is a semaphore's: an object where a mutex would have its first ticket says so.
func (s *Slots) agree(ctx context.Context, backoff object.Backoff) error {
	s.mu.Lock()
	agreed := s.agreed
	s.mu.Unlock()
	if agreed {
		return nil
	}
	l := s.line(s.path)
	var mark *record
	for mark == nil {
		o, err := l.get(ctx, 0)
		if err == nil {
			mark, err = l.parse(o)
		}
		if object.OutcomeOf(err) == object.Missing {
			var end *tail
			if end, _, err = l.listed(ctx, backoff); err == nil {
				mark = end.base
			}
		}
		if err != nil && (!retryable(err) || !object.Pause(ctx, backoff)) {
			return err
		}
	}
	if err := l.agree(mark); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agreed = true
	return nil
}

// compare tells, once, that somebody who holds or waits speaks of another number of slots: as it is while a fleet changes over,
// and as it should not stay.
func (s *Slots) compare(v view) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range v {
		top := w.end.base
		if w.crowd == 0 || top.size == 0 || top.size == s.size {
			continue
		}
		if _, told := s.cfg.told.LoadOrStore(s.path, true); told {
			return
		}
		s.cfg.Logger.Warn("gcsync: another size of a semaphore: never more than the larger are held", "queue", s.cfg.Store.URL(string(s.path)),
			"ours", s.size, "theirs", top.size, "owner", top.Metadata[keyOwner], "host", top.Metadata[keyHost])
	}
}

// sort makes a view of a listing.
func (s *Slots) sort(objects []object.Object) view {
	v := make(view)
	for _, o := range objects {
		num, _, _ := strings.Cut(strings.TrimPrefix(o.Name, s.path.slots()), "/")
		i, err := strconv.ParseInt(num, 10, 64)
		if err != nil {
			continue
		}
		l := &line{cfg: s.cfg, store: s.cfg.Store, path: s.path.slot(i)}
		if r, err := l.parse(o); err == nil {
			if v[i] == nil {
				v[i] = new(sight)
			}
			v[i].recs = append(v[i].recs, r)
		}
	}
	for _, w := range v {
		top := w.recs[len(w.recs)-1]
		w.end = &tail{base: top, gens: make(map[int64]int64)}
		w.end.head = chain(w.recs, top, w.end.gens)
		for _, r := range w.recs {
			if r.n >= w.end.head && r.n < top.n && !r.abandoned {
				w.crowd++
			}
			if r.n == w.end.head+1 {
				w.since = r.Created
			}
		}
		if w.end.head < top.n {
			w.crowd = max(w.crowd, 1) // what nobody stands at is still to be removed by whoever comes
		}
	}
	return v
}

// The looks of those who wait: often enough that no slot is idle beside them for long, and no more than that.
const (
	firstLook = 500 * time.Millisecond // between two looks at least, while a ticket of ours is under way
	lastLook  = 30 * time.Second       // ... and at most
)

// rejoins is how many times of those plus one a process queues again without a listing where it had its turn a moment ago,
// if there are but one or two processes there. Always, and rows of different length would stay so.
const rejoins = 7

// pursue sends for what is missing: for a slot that was ours a moment ago, and otherwise it looks where to go. s.mu is held.
func (s *Slots) pursue() {
	missing := s.missing()
	if missing == 0 || s.closed != nil {
		return
	}
	var ours, seeking int64
	var n int64
	for e := s.waiters.Front(); e != nil; e = e.Next() {
		n = max(n, e.Value.(*request).n)
	}
	for _, sl := range s.slots {
		if sl.seeking || sl.tenure != nil {
			ours++
		}
		if sl.seeking {
			seeking++
		}
	}
	for _, sl := range s.slots {
		if seeking >= missing {
			break
		}
		if !sl.seeking && !sl.busy && sl.tenure == nil && sl.i < n && sl.l.remembered() != nil {
			s.send(sl, nil, true)
			s.looked = s.now() // there is no need to look beside it
			seeking++
			ours++
		}
	}
	if s.looking || ours >= n {
		return
	}
	if ours == 0 && s.looks == 0 && missing == 1 && rand.IntN(rejoins+1) > 0 {
		for _, sl := range s.slots {
			if sl.i < n && !sl.busy && sl.l.shallow() {
				s.send(sl, nil, false)
				s.looked, s.crowd = s.now(), 1
				ours++
				break
			}
		}
	}
	wait := s.pauseBeforeLook()
	if ours == 0 || s.gathering() > seeking && s.looks < 3 {
		wait = 0
	}
	if d := wait - s.cfg.Store.Clock().Now().Since(s.looked); !s.looked.IsZero() && d > 0 {
		if s.next != nil {
			s.next.Stop()
		}
		s.next = s.cfg.Tasks.AfterFunc(d, func(context.Context) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.pursue()
		})
		return
	}
	s.look()
}

// gathering is how many slots the one that gathers several still wants; 0: nobody does. s.mu is held.
func (s *Slots) gathering() int64 {
	for e := s.waiters.Front(); e != nil; e = e.Next() {
		if a := e.Value.(*request); a.want > 1 && !a.trying {
			return a.want - int64(len(a.parts))
		}
	}
	return 0
}

// pauseBeforeLook is how long after the last look the next one comes: more than the usual wait in the row that it chose,
// and ever longer. s.mu is held.
func (s *Slots) pauseBeforeLook() time.Duration {
	var turn time.Duration
	for _, sl := range s.slots {
		if sl.seeking {
			sl.l.mu.Lock()
			turn = max(turn, sl.l.cycle)
			sl.l.mu.Unlock()
		}
	}
	first := max(firstLook, turn*time.Duration(4+s.crowd)/2)
	return min(lastLook, first<<min(max(s.looks-1, 0), 6))
}

// look lists the rows, in the background, and sends tickets where they are best. s.mu is held.
func (s *Slots) look() {
	s.looking = true
	call := s.waiters.Front().Value.(*request).call
	if !s.cfg.Tasks.Go(func(context.Context) {
		v, err := s.view(s.cfg.Waiting, call)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.looking, s.looked = false, s.now()
		s.looks++
		switch {
		case s.closed != nil:
		case err != nil:
			s.fail(err)
		default:
			s.choose(v)
			s.pursue()
		}
	}) {
		s.looking = false
		s.fail(s.closed)
	}
}

func (s *Slots) now() clock.Instant { return s.cfg.Store.Clock().Now() }

// choose sends tickets for what is missing: to free slots, of which any will do, so at random; and then to the shortest
// queues, if those are shorter than the one of this process's own goroutines. s.mu is held.
func (s *Slots) choose(v view) {
	missing := s.missing()
	if missing == 0 {
		return
	}
	var n, local, seeking int64
	for e := s.waiters.Front(); e != nil; e = e.Next() {
		n = max(n, e.Value.(*request).n)
	}
	var free, taken []int64
	for i := range n {
		switch sl := s.slots[i]; {
		case sl != nil && (sl.seeking || sl.busy || sl.tenure != nil):
			if sl.seeking {
				seeking++
			}
			if sl.seeking || sl.holder != nil {
				local++
			}
		case v.crowd(i) == 0:
			free = append(free, i)
		default:
			taken = append(taken, i)
		}
	}
	rand.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
	slices.SortStableFunc(free, func(i, j int64) int { return cmp.Compare(bit(v[i] == nil), bit(v[j] == nil)) }) // a new row takes a request more
	for _, i := range free[:min(int64(len(free)), missing)] {
		s.send(s.of(i), v.tail(i), s.looks < 2) // after that we queue wherever we come to be
		missing--
		local++
	}
	rand.Shuffle(len(taken), func(i, j int) { taken[i], taken[j] = taken[j], taken[i] })
	late := v.middle(taken)
	slices.SortStableFunc(taken, func(i, j int64) int {
		// Who has held for long will hold for longer. But the very last to come must not draw all who look at the same time.
		return cmp.Or(cmp.Compare(v.crowd(i), v.crowd(j)), cmp.Compare(bit(v[i].since.Before(late)), bit(v[j].since.Before(late))))
	})
	gathering := s.gathering()
	for _, i := range taken {
		crowd := v.crowd(i)
		if seeking >= missing || local > 0 && crowd*local >= missing && seeking >= gathering {
			break
		}
		s.send(s.of(i), v.tail(i), false)
		s.crowd = max(s.crowd, crowd)
		local++
		seeking++
	}
}

// middle is the moment since when half of the holders are there.
func (v view) middle(taken []int64) time.Time {
	if len(taken) == 0 {
		return time.Time{}
	}
	all := make([]time.Time, 0, len(taken))
	for _, i := range taken {
		all = append(all, v[i].since)
	}
	slices.SortFunc(all, time.Time.Compare)
	return all[len(all)/2]
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// attempt sends for what a call that does not wait wants: to slots that are free, or, if they are too few, to so many more
// whose holders came longest ago, who may be dead. It reports whether enough seemed to be free. s.mu is held.
func (s *Slots) attempt(a *request, v view) bool {
	want := a.want - int64(len(a.parts))
	var free, taken []int64
	for i := range a.n {
		switch sl := s.slots[i]; {
		case sl != nil && (sl.seeking || sl.busy || sl.tenure != nil):
		case v.crowd(i) == 0:
			free = append(free, i)
		default:
			taken = append(taken, i)
		}
	}
	rand.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
	slices.SortStableFunc(free, func(i, j int64) int { return cmp.Compare(bit(v[i] == nil), bit(v[j] == nil)) })
	slices.SortStableFunc(taken, func(i, j int64) int { return v[i].since.Compare(v[j].since) })
	if lack := want - int64(len(free)); lack > 0 {
		for _, i := range taken[:min(int64(len(taken)), lack)] {
			s.send(s.of(i), nil, true)
		}
		return false
	}
	for _, i := range free[:want] {
		s.send(s.of(i), v.tail(i), true)
	}
	return true
}
