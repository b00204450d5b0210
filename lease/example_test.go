package lease_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/lease"
)

func Example() {
	// In production: client, err := storage.NewClient(ctx); bucket := client.Bucket("my-locks").
	server := gcstest.New(gcstest.Model{})
	defer server.Close()
	server.CreateBucket("my-locks", gcstest.BucketConfig{})
	bucket := server.Client(nil).Bucket("my-locks")

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds the waiting
	defer cancel()
	h, err := lease.Acquire(ctx, bucket, "jobs/nightly", &lease.Options{Owner: "worker-1"})
	if err != nil {
		fmt.Println(err)
		return
	}

	_, err = lease.TryAcquire(ctx, bucket, "jobs/nightly", &lease.Options{Owner: "worker-2"})
	var held *lease.HeldError
	if errors.As(err, &held) {
		fmt.Println("held by", held.Owner)
	}

	if err := h.Release(ctx); err != nil {
		fmt.Println(err)
	}
	// Output: held by worker-1
}

func ExampleDo() {
	server := gcstest.New(gcstest.Model{})
	defer server.Close()
	server.CreateBucket("my-locks", gcstest.BucketConfig{})
	bucket := server.Client(nil).Bucket("my-locks")

	err := lease.Do(context.Background(), bucket, "jobs/nightly", nil, func(ctx context.Context) error {
		_, fenced := lease.TokenFrom(ctx) // hand the token to whatever you write to
		fmt.Println("inside, fenced:", fenced)
		return ctx.Err() // not nil once the lease is lost
	})
	fmt.Println(err)
	// Output:
	// inside, fenced: true
	// <nil>
}
