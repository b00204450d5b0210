package lease

import (
	"time"

	"github.com/gcsync/gcsync/internal/object"
)

// StateOf returns what an object that was read tells of the lease on it, at the given time by the service's clock.
func StateOf(bucket string, o object.Object, at time.Time) State {
	var s sighting
	s.see(o)
	s.present = at
	return (&lock{bucket: bucket, name: o.Name}).state(&s)
}
