//go:build unix

package torture

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"cloud.google.com/go/storage"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/fence"
	"github.com/gcsync/gcsync/lease"
)

// ttl is the length of the leases: as short as they may be, so that much happens in a minute.
const ttl = 4 * time.Second

// worker is a process that takes turns on the lock. It never looks at its lease: nothing but a fence can stop it.
type worker struct {
	config
	bucket *storage.BucketHandle
	words  chan struct{} // from the parent
	count  atomic.Int64

	mu  sync.Mutex
	out *json.Encoder
}

// process runs until the parent closes the standard input, or has died.
func process(text string) int {
	w := &worker{words: make(chan struct{}), out: json.NewEncoder(os.Stdout)}
	if err := json.Unmarshal([]byte(text), &w.config); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, leave := context.WithCancel(context.Background())
	go func() {
		defer leave()
		for s := bufio.NewScanner(os.Stdin); s.Scan(); {
			w.words <- struct{}{}
		}
	}()
	if err := w.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, w.Name, err)
		return 1
	}
	return 0
}

func (w *worker) run(ctx context.Context) error {
	if err := os.Setenv("STORAGE_EMULATOR_HOST", w.Endpoint); err != nil {
		return err
	}
	client, err := storage.NewClient(context.Background())
	if err != nil {
		return err
	}
	defer client.Close()
	w.bucket = client.Bucket(bucket)
	c, err := gcsync.New(w.bucket, &gcsync.Options{Owner: w.Name, TTL: ttl, Claim: ttl, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	for range w.Workers {
		all.Go(func() { w.work(ctx, c.Mutex("torture")) })
	}
	all.Wait()
	closing, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return c.Close(closing)
}

func (w *worker) work(ctx context.Context, mu *gcsync.Mutex) {
	for ctx.Err() == nil {
		err := mu.Do(ctx, w.turn)
		switch {
		case errors.Is(err, gcsync.ErrLost):
			w.tell(message{Kind: lost, Error: err.Error()})
		case err != nil && ctx.Err() == nil:
			w.tell(message{Kind: failed, Error: err.Error()})
		}
		if w.Once {
			return
		}
	}
}

// turn makes one update while the lock is held, and tells what became of it.
func (w *worker) turn(ctx context.Context) error {
	token, _ := lease.TokenFrom(ctx)
	w.tell(message{Kind: entered, Token: token})
	id := fmt.Sprintf("%s.%d", w.Name, w.count.Add(1))

	// A program that does not stop when its context ends, as one does not that was paused right after it looked.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	var written bool
	var err error
	if w.Fenced {
		written, err = w.fenced(ctx, id, token)
	} else {
		written, err = w.unfenced(ctx, id, token)
	}
	m := message{Kind: acked, ID: id, Token: token}
	if err != nil {
		m.Error = err.Error()
		stale := new(*fence.StaleError)
		switch {
		case written && (!w.Fenced || errors.Is(err, fence.ErrUnknown)):
			m.Kind = unknown
		case errors.As(err, stale):
			m.Kind = refused
		default:
			m.Kind = failed
		}
	}
	w.tell(m)
	return nil
}

// fenced appends to the object as a holder should. It reports whether it came to write.
func (w *worker) fenced(ctx context.Context, id string, token int64) (written bool, err error) {
	o, err := fence.Seal(ctx, w.bucket, shared, token, nil)
	if err != nil {
		return false, err
	}
	data, err := o.Read(ctx)
	if err != nil {
		return false, err
	}
	if data, err = extend(data, update{id, token}); err != nil {
		return false, err
	}
	w.think(id, token)
	return true, o.Write(ctx, data)
}

// unfenced appends to the object as a holder does that trusts its lock.
func (w *worker) unfenced(ctx context.Context, id string, token int64) (written bool, err error) {
	o := w.bucket.Object(shared)
	r, err := o.NewReader(ctx)
	var data []byte
	switch {
	case err == nil:
		data, err = io.ReadAll(r)
		_ = r.Close() // has been read to its end or failed
		if err != nil {
			return false, err
		}
	case !errors.Is(err, storage.ErrObjectNotExist):
		return false, err
	}
	if data, err = extend(data, update{id, token}); err != nil {
		return false, err
	}
	w.think(id, token)
	to := o.NewWriter(ctx)
	to.ChunkSize = 0
	_, err = to.Write(data)
	return true, errors.Join(err, to.Close())
}

// think is the time between reading and writing.
func (w *worker) think(id string, token int64) {
	w.tell(message{Kind: haveRead, ID: id, Token: token})
	if w.Once {
		<-w.words
		return
	}
	time.Sleep(rand.N(80 * time.Millisecond))
}

func extend(data []byte, u update) ([]byte, error) {
	var list []update
	if len(data) > 0 {
		if err := json.Unmarshal(data, &list); err != nil {
			return nil, err
		}
	}
	return json.Marshal(append(list, u))
}

func (w *worker) tell(m message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.out.Encode(m) // a parent that does not listen has died
}
