// Hello takes a lock in a bucket, and says so while nobody else in the fleet can.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"cloud.google.com/go/storage"

	"github.com/gcsync/gcsync"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: hello bucket")
	}
	if err := run(context.Background(), os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, bucket string) error {
	client, err := storage.NewClient(ctx) // with the credentials of this machine, or gcloud auth application-default login
	if err != nil {
		return err
	}
	defer client.Close()
	c, err := gcsync.New(client.Bucket(bucket), nil)
	if err != nil {
		return err
	}
	defer c.Close(ctx)

	return c.Mutex("jobs/rebuild").Do(ctx, func(ctx context.Context) error {
		fmt.Println("nobody else in the fleet is here")
		return ctx.Err() // ctx ends if the lock is lost
	})
}
