package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/lease"
)

// possession is an object that keeps others out for as long as we keep it alive: a baton, or an entry in the registry.
type possession struct {
	l      *line
	n      int64  // the ticket that it came with
	name   string // of the object
	gen    int64
	keeper *lease.Keeper
	freed  func() // called when the object is proven gone; may be nil
	told   *teller
}

// possess begins to keep the record of ticket n alive, whose object was made with the metadata.
func (l *line) possess(n int64, rec lease.Record, metadata map[string]string) possession {
	// A renewal must not shorten the lease: one whose answer is lost would bind the others' patience and not our belief.
	ttl := max(l.cfg.TTL, rec.Length)
	told, began := l.teller(n), l.now()
	keeper := lease.Keep(lease.Keeping{
		Store:   l.store,
		Tasks:   l.cfg.Tasks,
		TTL:     ttl,
		Backoff: l.cfg.Backoff,
		Fields: func(nonce string) map[string]string {
			held := millis(l.now().Longest(began))
			return told.Sign(map[string]string{keyRenewal: nonce, keyTTL: millis(ttl), keyHeld: held}, metadata)
		},
		Nonce:   func(md map[string]string) string { return md[keyRenewal] },
		Watcher: told,
	}, rec)
	return possession{l: l, n: n, name: rec.Name, gen: rec.Version.Gen, keeper: keeper, told: told}
}

// release deletes the object of a possession whose belief was ended, here and now for as long as a request may take, and
// then in the background.
func (p *possession) release() error {
	var err error
	if !p.l.cfg.Tasks.Do(func(ctx context.Context) {
		if err = p.free(ctx, lease.RequestTimeout(p.l.cfg.TTL)); err != nil {
			p.releaseLater() // from within: a client that closes meanwhile takes no more once this has ended
		}
	}) {
		return lease.ErrUnconfirmed // closed: what was to be released is left to its lease
	}
	if err != nil {
		if object.Retained(err) {
			return fmt.Errorf("not released, and nobody else can have it until the retention ends: %w", err)
		}
		return fmt.Errorf("%w: %w", lease.ErrUnconfirmed, err)
	}
	return nil
}

// releaseLater does it in the background, for as long as there is anything to gain from it.
func (p *possession) releaseLater() {
	p.l.cfg.Tasks.Go(func(ctx context.Context) {
		if err := p.free(ctx, p.keeper.Record().Length); err != nil {
			p.l.cfg.Logger.Debug("gcsync: not released", "object", p.l.store.URL(p.name), "error", err)
		}
	})
}

// free deletes the object. It ends when that is done, or some time after the first attempt has failed; the lease frees
// the name at the latest.
func (p *possession) free(ctx context.Context, patience time.Duration) error {
	proven := false
	if err := p.told.Release(ctx, p.n, func() (err error) {
		proven, err = p.erase(ctx, patience)
		return err
	}); err != nil {
		return err
	}
	p.l.event(Released, p.n)
	if proven {
		p.isFree()
	} else {
		p.l.cfg.Tasks.Go(p.confirm)
	}
	return nil
}

func (p *possession) erase(ctx context.Context, patience time.Duration) (proven bool, err error) {
	v := object.Version{Gen: p.gen}
	gone, err := p.l.remove(ctx, p.name, v)
	if gone && p.keeper.Record().Nonce != "" {
		// It has been renewed, and would keep the others out for the whole TTL. Beside so long a hold a look takes no time.
		gone, err = p.l.absent(ctx, p.name, p.gen)
		proven = gone
	}
	if !gone && object.OutcomeOf(err) != object.Denied {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		err = p.l.removeAll(ctx, p.name, v)
	}
	return proven, err
}

// confirm looks whether a release was what its answer said, and goes on with it if it was not: the answer to a delete has nothing
// by which it could be told from another's.
func (p *possession) confirm(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.keeper.Record().Length) // then others have freed it
	defer cancel()
	backoff := p.l.cfg.Backoff()
	for {
		gone, err := p.l.absent(ctx, p.name, p.gen)
		if gone {
			p.isFree()
			return
		}
		if object.OutcomeOf(err) == object.Denied || !object.Pause(ctx, backoff) {
			return
		}
		if err == nil {
			p.l.event(DeleteRetried, p.n)
			_, _ = p.l.remove(ctx, p.name, object.Version{Gen: p.gen}) // what became of it, the next look tells
		}
	}
}

// isFree notes that a read has proven the object gone.
func (p *possession) isFree() {
	if p.freed != nil {
		p.freed()
	}
}
