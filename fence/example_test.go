package fence_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/fence"
	"github.com/gcsync/gcsync/gcstest"
	"github.com/gcsync/gcsync/lease"
)

// A read-modify-write under a mutex, which stays right even if this process is paused for an hour in the middle of it.
func Example() {
	// In production: client, err := storage.NewClient(ctx); bucket := client.Bucket("my-bucket").
	server := gcstest.New(gcstest.Model{})
	defer server.Close()
	server.CreateBucket("my-bucket", gcstest.BucketConfig{})
	bucket := server.Client(nil).Bucket("my-bucket")

	ctx := context.Background()
	c, err := gcsync.New(bucket, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close(ctx)

	for _, line := range []string{"one\n", "two\n"} {
		err = c.Mutex("journal").Do(ctx, func(ctx context.Context) error {
			token, _ := lease.TokenFrom(ctx)
			o, err := fence.Seal(ctx, bucket, "journal.txt", token, nil)
			if err != nil {
				return err
			}
			text, err := o.Read(ctx)
			if err != nil {
				return err
			}
			fmt.Printf("read %q\n", text)
			return o.Write(ctx, append(text, line...))
		})
		if err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// read ""
	// read "one\n"
}

// A zombie's write is refused, and says why.
func ExampleStaleError() {
	server := gcstest.New(gcstest.Model{})
	defer server.Close()
	server.CreateBucket("my-bucket", gcstest.BucketConfig{})
	bucket := server.Client(nil).Bucket("my-bucket")
	ctx := context.Background()

	old, err := fence.Seal(ctx, bucket, "state.json", 41, nil) // under its lock, which is lost in a pause
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err = fence.Seal(ctx, bucket, "state.json", 42, nil); err != nil { // the next holder
		fmt.Println(err)
		return
	}
	err = old.Write(ctx, []byte("what I believed an hour ago"))
	var stale *fence.StaleError
	if errors.As(err, &stale) {
		fmt.Println("token", stale.Token, "is stale, current is", stale.Current)
	}
	// Output: token 41 is stale, current is 42
}

// In a database the row carries the token, and every statement compares it. As with an object, seal before you read: a
// balance that was read first might be changed by a zombie before it is written back.
func Example_sql() {
	deposit := func(ctx context.Context, db *sql.DB, account string, amount int64) error {
		token, ok := lease.TokenFrom(ctx)
		if !ok {
			return errors.New("not under a lock")
		}
		if err := fenced(db.ExecContext(ctx, `UPDATE accounts SET fence = $1 WHERE id = $2 AND fence <= $1`, token, account)); err != nil {
			return err
		}
		var balance int64
		if err := db.QueryRowContext(ctx, `SELECT balance FROM accounts WHERE id = $1`, account).Scan(&balance); err != nil {
			return err
		}
		return fenced(db.ExecContext(ctx, `UPDATE accounts SET balance = $3, fence = $1 WHERE id = $2 AND fence <= $1`, token, account, balance+amount))
	}
	_ = deposit // runs inside Mutex.Do, whose context has the token
}

// fenced turns an update that matched no row into an error.
func fenced(r sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err == nil && n == 0 {
		err = errors.New("stale fencing token, or no such row")
	}
	return err
}
