package lease

import (
	"errors"
	"fmt"

	"github.com/gcsync/gcsync/internal/object"
)

// ErrLost is the cause of a lease that ended before its holder released it. Whoever sees it must assume that somebody
// else holds what it protects.
var ErrLost = errors.New("lease lost")

// ErrReleased is the error of a lease that its holder released.
var ErrReleased = errors.New("lease released")

// ErrUnconfirmed says that a lease was held until its release, but that the service has not confirmed the release. The
// caller holds nothing any more; the others have the object once the lease has run out, or before.
var ErrUnconfirmed = errors.New("release not confirmed; the lease will free it")

// HeldError says that somebody else holds the lease, and what the object told of it when it was last read.
type HeldError struct{ State }

func (e *HeldError) Error() string {
	return fmt.Sprintf("gs://%s/%s: held by %q", e.Bucket, object.Short(e.Name), e.Owner)
}
