package object

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/gcsync/gcsync/internal/telemetry"
)

// Observed returns the same store that tells of its requests, and the logger when the service has had too many, or does not
// answer.
func (s *Store) Observed(tell *telemetry.Telemetry, logger *slog.Logger) *Store {
	t := *s
	t.tell, t.throttle, t.reach = tell, &throttle{logger: logger}, &reach{logger: logger}
	return &t
}

// throttle tells people that the service refuses requests: at once, and then at most every quietly, so that a storm is a
// few lines and not one for each request.
type throttle struct {
	logger *slog.Logger

	mu     sync.Mutex
	last   time.Time // when it was last told
	untold int       // refused since
}

const quietly = 10 * time.Second

// refused notes that the service refused a request because there were too many.
func (t *throttle) refused(s *Store, op, name string) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.untold++
	if now := time.Now(); t.last.IsZero() || now.Sub(t.last) >= quietly {
		t.logger.Log(context.Background(), slog.LevelWarn, "gcsync: throttled: the service refuses requests, and they are repeated",
			"object", s.URL(name), "operation", op, "refused since last told", t.untold)
		t.last, t.untold = now, 0
	}
}
