package lease

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"cloud.google.com/go/storage"

	"github.com/gcsync/gcsync/internal/object"
)

// State is what the object of a lease tells, for people: who has it, since when it was last heard of, how much longer it
// is to be left alone. When it is read it is already old, so nothing may be decided by it; to decide, acquire.
//
// Its times are the service's. Whether the lease has expired, and in what time it will, is judged by the service's clock
// too; only over gRPC, where answers do not tell the time, by this machine's, and may be wrong by as much as that is.
type State struct {
	Bucket, Name string

	Owner string        // who holds it or held it last; empty: nobody ever did
	TTL   time.Duration // how long after Updated the holder is to be left alone; 0: it was released

	Updated   time.Time     // when the holder was last heard of; zero: there is no object
	Expires   time.Time     // Updated + TTL
	ExpiresIn time.Duration // until then, when the state was read; not positive: expired
	Expired   bool          // nobody holds it: never acquired, released, or not renewed

	// Token is the fencing token of the last acquisition through this package; 0: there was none. If the Python library
	// holds the lease now, it is that of the last holder before it.
	Token int64
}

// Read returns the state of the lease on the object name; of an object that is not there, the state of a lease that
// nobody ever held. It needs no more than permission to read.
func Read(ctx context.Context, bucket *storage.BucketHandle, name string) (State, error) {
	l, err := newLock(bucket, name, &Options{Logger: slog.New(slog.DiscardHandler)}) // it ends soon, and says why
	if err != nil {
		return State{}, err
	}
	ctx, cancel := object.Bound(ctx)
	defer cancel()
	w := Watch{lock: l}
	st, _, err := w.Look(ctx)
	if err != nil {
		return State{}, fmt.Errorf("lease: read: %w", l.store.Because(ctx, err))
	}
	return st, nil
}

func (l *lock) state(s *sighting) State {
	st := State{Bucket: l.bucket, Name: l.name, Expired: true}
	if s.Gen == 0 {
		return st
	}
	st.Owner, st.TTL, st.Updated, st.Token = s.owner, s.ttl, s.Updated, tokenOf(s.Object)
	st.Expires = s.Updated.Add(s.ttl)
	present := cmp.Or(s.present, s.hint, s.Received.Wall()) // for people
	st.ExpiresIn = st.Expires.Sub(present)
	st.Expired = s.free() || st.ExpiresIn <= 0
	return st
}
