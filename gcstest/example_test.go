package gcstest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"cloud.google.com/go/storage"
	"github.com/gcsync/gcsync/gcstest"
	"google.golang.org/api/googleapi"
)

// claim is the code under test: it takes a task by creating its marker, and says
// whether it did.
func claim(ctx context.Context, marker *storage.ObjectHandle, worker string) (bool, error) {
	w := marker.If(storage.Conditions{DoesNotExist: true}).NewWriter(ctx)
	w.ChunkSize = 0
	w.Metadata = map[string]string{"worker": worker}
	err := w.Close()
	if err == nil {
		return true, nil
	}
	// The claim may have succeeded although this says otherwise, if the answer
	// was lost on the way.
	attrs, getErr := marker.Attrs(ctx)
	var e *googleapi.Error
	switch {
	case getErr == nil:
		return attrs.Metadata["worker"] == worker, nil
	case errors.As(err, &e) && e.Code == http.StatusPreconditionFailed:
		return false, nil // it is gone again
	}
	return false, errors.Join(err, getErr)
}

// A claim whose answer is lost is recognised, and refused to others.
//
// In a test, let this run in a bubble, in which latency takes no time:
//
//	func TestClaim(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) { ... })
//	}
func Example() {
	server := gcstest.New(gcstest.Model{Median: time.Millisecond, P99: 4 * time.Millisecond})
	defer server.Close()
	server.CreateBucket("tasks", gcstest.BucketConfig{})

	faults := gcstest.NewFaults(1)
	defer faults.Close()
	faults.Script(gcstest.On(gcstest.Insert, "task-1"), gcstest.Fault{Kind: gcstest.LoseAnswer})

	unlucky := server.Client(faults).Bucket("tasks").Object("task-1")
	other := server.Client(nil).Bucket("tasks").Object("task-1")

	ctx := context.Background()
	ok, err := claim(ctx, unlucky, "a")
	fmt.Println("a:", ok, err)
	ok, err = claim(ctx, other, "b")
	fmt.Println("b:", ok, err)
	fmt.Println(faults.Counts())
	// Output:
	// a: true <nil>
	// b: false <nil>
	// map[LoseAnswer:1]
}
