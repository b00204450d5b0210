// Package gcsync gives programs on many machines the primitives of [sync], kept in a Google Cloud Storage bucket: no
// server to run, only a bucket.
//
// # Guarantees
//
//   - At most one client at a time believes that it holds a name. Belief is a [lease.Lease]: it counts from before the
//     request that gave it was sent, ends a margin before others may take over, by the monotonic clock and by one that counts through suspensions,
//     and is announced on time whatever requests hang.
//   - Processes get a name in the order in which they came for it. Goroutines of one process may pass it on among
//     themselves, 16 times or for a second at most while another process waits.
//   - The slots held of a semaphore never exceed its size, and no slot has two holders; a writer of an RWMutex is alone. Large
//     requests and writers do not starve. Each slot is first come, first served; a semaphore as a whole is nearly so.
//   - Every grant has a fencing token, greater than that of every grant of the name before it.
//   - A holder that dies costs the others one lease. Without deaths, every wait ends.
//   - Lost answers, late and repeated deliveries, throttling, and clocks that are wrong by any amount cost time, not
//     correctness.
//
// And of what stands on a single object:
//
//   - The function of a [Once] is run at least once before [Once.Do] returns nil anywhere, and its result is recorded
//     exactly once: everybody gets the same value from [OnceValue], and nobody one from before a [Once.Reset].
//   - The work of a slot of [Every] is recorded at most once, whatever the clocks say.
//   - At most one client at a time believes that it leads an [Election], and the numbers of terms grow for ever.
//
// # Not guaranteed
//
//   - A lease cannot stop a process that was paused beyond it from acting on what it believed before. Only the resource
//     can, by refusing a fencing token smaller than the greatest it has seen ([lease.TokenFrom], [lease.Lease.Token]).
//     Package fence makes an object in a bucket do so.
//   - The function of a Once, or of a slot of Every, may run twice if its process dies or is paused for longer than its
//     lease before it was recorded: let it be one that may be repeated.
//   - Clocks may be wrong, but they must not run more than one percent too fast or too slow.
//   - Deleting or changing the objects of a name while it is in use, by hand or by a lifecycle rule, voids all of it.
//     To wipe them, stop every client first and wait for a minute.
//
// # Use
//
//	c, err := gcsync.New(bucket, nil) // bucket is a *storage.BucketHandle
//	...
//	defer c.Close(ctx)
//
//	err = c.Mutex("jobs/rebuild").Do(ctx, func(ctx context.Context) error {
//		return rebuild(ctx) // ctx ends if the lock is lost
//	})
//
// A lock that nobody else wants takes some tens of milliseconds, and 5 to 10 dollars a million times; where many want it, some
// times that. See the README for figures. Test
// your own code on package gcstest, a bucket in memory that can be made to fail.
package gcsync
