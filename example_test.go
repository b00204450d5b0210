package gcsync_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"sync/atomic"

	"cloud.google.com/go/storage"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/lease"
)

// exampleBucket stands for storage.NewClient(ctx) and its Bucket: the examples run on a bucket in memory.
func exampleBucket() *storage.BucketHandle {
	srv := gcstest.New(gcstest.Model{})
	srv.CreateBucket("my-bucket", gcstest.BucketConfig{})
	return srv.Client(nil).Bucket("my-bucket")
}

func Example() {
	ctx := context.Background()
	c, err := gcsync.New(exampleBucket(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	err = c.Mutex("jobs/rebuild").Do(ctx, func(ctx context.Context) error {
		fmt.Println("the only one in the fleet")
		return ctx.Err() // ctx ends if the lock is lost
	})
	if errors.Is(err, gcsync.ErrLost) {
		log.Fatal("somebody else may have been inside as well: ", err)
	}
	// Output: the only one in the fleet
}

func ExampleMutex() {
	ctx := context.Background()
	bucket := exampleBucket()

	// Two clients, as on two machines; each would have a storage client of its own.
	var instances sync.WaitGroup
	visits := 0
	for range 2 {
		instances.Go(func() {
			c, err := gcsync.New(bucket, nil)
			if err != nil {
				log.Fatal(err)
			}
			defer c.Close(ctx)
			mu := c.Mutex("counter")
			for range 5 {
				if err := mu.Lock(ctx); err != nil {
					log.Fatal(err)
				}
				visits++
				if err := mu.Unlock(ctx); err != nil {
					log.Fatal(err)
				}
			}
		})
	}
	instances.Wait()
	fmt.Println(visits)
	// Output: 10
}

func ExampleMutex_TryLock() {
	ctx := context.Background()
	bucket := exampleBucket()
	first, _ := gcsync.New(bucket, nil)
	defer first.Close(ctx)
	second, _ := gcsync.New(bucket, nil)
	defer second.Close(ctx)

	ok, err := first.Mutex("nightly").TryLock(ctx)
	fmt.Println(ok, err)
	ok, err = second.Mutex("nightly").TryLock(ctx)
	fmt.Println(ok, err)
	// Output:
	// true <nil>
	// false <nil>
}

// A resource that remembers the greatest token refuses a holder that was paused and does not know that it is too late.
func ExampleMutex_Do_fencing() {
	ctx := context.Background()
	c, _ := gcsync.New(exampleBucket(), nil)
	defer c.Close(ctx)

	var greatest int64 // in a database: UPDATE ... SET fence = $1 WHERE fence <= $1
	write := func(token int64) bool {
		if token < greatest {
			return false
		}
		greatest = token
		return true
	}

	var old int64
	mu := c.Mutex("report")
	for range 2 {
		mu.Do(ctx, func(ctx context.Context) error {
			token, _ := lease.TokenFrom(ctx)
			fmt.Println("written:", write(token))
			if old == 0 {
				old = token
			}
			return nil
		})
	}
	fmt.Println("written with the old token:", write(old))
	// Output:
	// written: true
	// written: true
	// written with the old token: false
}

func ExampleSemaphore() {
	ctx := context.Background()
	bucket := exampleBucket()

	// Five machines, and at most two of them render at any time.
	var instances sync.WaitGroup
	var rendering, most atomic.Int64
	for range 5 {
		instances.Go(func() {
			c, err := gcsync.New(bucket, nil)
			if err != nil {
				log.Fatal(err)
			}
			defer c.Close(ctx)
			err = c.Semaphore("renders", 2).Do(ctx, 1, func(ctx context.Context) error {
				most.Store(max(most.Load(), rendering.Add(1)))
				defer rendering.Add(-1)
				return ctx.Err() // ctx ends if the slot is lost
			})
			if err != nil {
				log.Fatal(err)
			}
		})
	}
	instances.Wait()
	fmt.Println("never more than two:", most.Load() <= 2)
	// Output: never more than two: true
}

// A permit tells which of the slots it holds: each may stand for something of which there is one.
func ExamplePermit_Slots() {
	ctx := context.Background()
	c, err := gcsync.New(exampleBucket(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	licences := []string{"A-17", "B-23"}
	s := c.Semaphore("licences", int64(len(licences)))
	p, err := s.Acquire(ctx, 2)
	if err != nil {
		log.Fatal(err)
	}
	for _, slot := range p.Slots() {
		fmt.Println("licence", licences[slot.Number])
	}
	none, err := s.TryAcquire(ctx, 1)
	defer none.Release(ctx) // of no permit is harmless
	fmt.Println("no third:", errors.Is(err, gcsync.ErrBusy))
	p.Release(ctx)
	// Output:
	// licence A-17
	// licence B-23
	// no third: true
}

func ExampleRWMutex() {
	ctx := context.Background()
	bucket := exampleBucket()
	a, err := gcsync.New(bucket, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close(ctx)
	b, err := gcsync.New(bucket, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close(ctx)

	err = a.RWMutex("catalog").RDo(ctx, func(context.Context) error {
		reader, err := b.RWMutex("catalog").TryRLock(ctx)
		if err != nil {
			return err
		}
		fmt.Println("another reader beside a reader:", reader)
		if reader {
			defer b.RWMutex("catalog").RUnlock(ctx)
		}
		writer, err := b.RWMutex("catalog").TryLock(ctx)
		fmt.Println("a writer beside a reader:", writer)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// another reader beside a reader: true
	// a writer beside a reader: false
}
