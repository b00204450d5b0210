package lease

import (
	"time"

	"github.com/gcsync/gcsync/internal/clock"
)

// SetWall gives a call another wall clock than the machine's.
func (o *Options) SetWall(wall func() time.Time) { o.clock = clock.Clock{Wall: wall} }
