package gcsync

import (
	"errors"

	"github.com/gcsync/gcsync/internal/object"
	"github.com/gcsync/gcsync/internal/queue"
	"github.com/gcsync/gcsync/lease"
)

var (
	// ErrLost says that a hold ended before it was released: it could not be renewed in time, or its objects were
	// removed. Whoever sees it must assume that somebody else holds the name.
	ErrLost = lease.ErrLost

	// ErrClosed says that the [Client] was closed.
	ErrClosed = errors.New("gcsync: client closed")

	// ErrNotHeld says that a name was to be released that nobody in this process holds.
	ErrNotHeld = queue.ErrNotHeld

	// ErrNoLeader says that nobody leads an [Election] at the moment.
	ErrNoLeader = errors.New("no leader")

	// ErrUnconfirmed says that a release has had no answer from the service yet. The caller holds nothing any more; the
	// release goes on in the background, and the lease frees the name at the latest.
	ErrUnconfirmed = lease.ErrUnconfirmed

	// ErrNoAnswer says that the service could not be reached for so long that the call was given up, or that it could not
	// when the context of the call ended; the error tells why. Whether anybody holds the name is not known.
	ErrNoAnswer = object.ErrNoAnswer

	// ErrName says that nothing can have this name. Nothing was sent.
	ErrName = queue.ErrName

	// ErrStale says that a name is not held under the token that was given to [Client.Break]. Nothing was changed.
	ErrStale = queue.ErrStale
)

// WaitError says what a call waited for when its context ended: who holds the name, since when, and how many are before
// us, as far as was seen; or that the service does not answer. It wraps the cause of the context, and its error. Nothing was
// acquired.
type WaitError = queue.WaitError

// MismatchError says that the clients of one name do not agree on what it is: one takes it for a mutex, say, and
// another for a semaphore. Nothing was acquired.
type MismatchError = queue.MismatchError

// ForeignError says that an object stands where only objects of gcsync should. Nothing was acquired, and the object was
// left alone.
type ForeignError = queue.ForeignError

// TooLargeError says that more slots of a semaphore were asked for than there are. Nothing was acquired.
type TooLargeError = queue.TooLargeError
