package fence

import (
	"errors"
	"fmt"
)

// StaleError says that a holder with a greater token has sealed the object: the lease under which the caller acts is
// over. What was to be written was refused and will be, unless the error also wraps [ErrUnknown].
type StaleError struct {
	URL     string // of the object, gs://bucket/name
	Token   int64  // the caller's
	Current int64  // the object's
}

func (e *StaleError) Error() string {
	return fmt.Sprintf("%s: stale fencing token %d: a holder with token %d has sealed the object; stop, and lock again", e.URL, e.Token, e.Current)
}

// ErrChanged says that the object is not as this [Object] left it, although no greater token is on it: it was deleted,
// written by somebody who does not use this package, or sealed once more under the same token. What was to be written
// was refused, unless the error also wraps [ErrUnknown].
var ErrChanged = errors.New("changed behind the holder's back")

// ErrUnknown says that a write may have been applied, or may still be. To settle it, [Seal] again, with the same token
// if it is still current, and read: from then on the write is there, or never will be.
var ErrUnknown = errors.New("outcome of the write unknown")
