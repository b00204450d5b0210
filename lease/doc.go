// Package lease is a lock on one object of a Cloud Storage bucket: held for a limited time, renewed while its holder
// lives, free for others when it does not, and told to its holder when it is lost.
//
//	h, err := lease.Acquire(ctx, bucket, "jobs/nightly", nil)
//	if err != nil { ... }
//	defer h.Release(ctx)
//
// Use [Acquire] to wait for it, [TryAcquire] to be refused with a [*HeldError], [Do] to run a function under it. It costs
// one read and one write to have, and nothing piles up in the bucket. Where many wait for a short turn each, and in order,
// use the mutex of the parent package: one object takes about one write a second.
//
// # Guaranteed
//
//   - At most one caller believes in the lease of an object at any time ([Lease.Err] returns nil), also of callers with the
//     same owner, in the same process or not. Nobody takes over before the holder has been silent for its TTL, nor after a
//     look at a clock of another machine: silence is measured by the observer's own monotonic clock, or between two times
//     of the service's.
//   - A lease that is held stays held while its holder can reach the service, for as long as it likes.
//   - The loss of a lease is told at its deadline at the latest, whatever requests hang: [Lease.Done] is closed,
//     [Lease.Err] wraps [ErrLost], and so does the cause of every [Lease.Context]. It is final. A machine that was
//     suspended tells at once to those who ask, and to those who wait within a tenth of the TTL, at least a second.
//   - A lost answer is not a lost lease, and not an orphan: every write is signed, and recognised by its signature.
//   - [Lease.Token] is greater for each acquisition than for all before it.
//   - A dead holder keeps others waiting for its TTL, from when they first looked; where nobody stays that long, for
//     twice the TTL.
//
// # Not guaranteed
//
//   - That a holder acts only while it holds. A process that is paused between a check and its effect acts late; only a
//     resource that refuses a [Lease.Token] smaller than the greatest it has seen can stop it.
//   - Order and fairness. Whoever looks first takes it.
//   - Anything to those whose objects are deleted or edited by hand, or by a lifecycle rule, while they are in use.
//   - Anything on a machine whose clock runs fast or slow by more than one percent. How late it is does not matter.
//
// # The object, and the Python library
//
// The object is that of gcs-atomic-lock, the Python library gcslock: its name is the key as it is, its body "lock", its
// type text/plain, and its metadata
//
//	expires_sec   how long to leave the holder alone since the last write, in seconds; 0: free
//	lock_owner    the owner, a space, and the signature of the last write
//	gcsync_epoch  the number of the last acquisition through this package
//
// Other metadata is left alone. The object is never deleted, only marked free: under soft delete, versioning or a
// retention policy nothing changes for that. It needs the permissions storage.objects.get, create and update.
//
// A program in Go and one in Python can meet on one object. What such a fleet can rely on:
//
//   - Each respects what the other holds, and takes what the other has released. Deleting the object, as Python does,
//     does not set the token back.
//   - Go takes over from Python when the expires_sec of the lock have passed without a write. If Python uses its lock for
//     longer than that, it does not learn that it has lost it before it releases it, as ever.
//   - If Python takes a live lease, the Go holder learns of it at its next renewal: within a third of the TTL.
//
// And what it cannot: Python compares the service's time with its own, so a Python program whose clock is fast by more
// than two thirds of the TTL takes live leases; it checks the metageneration alone, so a write of it that is very late
// can hit an object that was deleted and made again in the meantime; it has no token, and does not raise the one in the
// object; and two Python programs of one owner both hold.
package lease
