package gcsync_test

import (
	"context"
	"testing"
	"time"

	"github.com/gcsync/gcsync/internal/queue"
)

// However many waiters have died, they cost whoever comes next little more than one claim, together.
func TestTheDeadCostOneClaimTogether(t *testing.T) {
	for _, dead := range []int{1, 5, 50} {
		inBubble(t, typical, func(b *bed) {
			x := b.host("x")
			b.lock(x.Mutex("m"))
			for range dead {
				w := b.host("w")
				go w.Mutex("m").Lock(context.Background())
				time.Sleep(500 * time.Millisecond)
				w.vanish()
			}
			b.unlock(x.Mutex("m"))
			y := b.host("y")
			began := time.Now()
			b.lock(y.Mutex("m"))
			took := time.Since(began)
			b.Logf("%d dead waiters cost %v; called %d, struck %d", dead, took, y.events.count(queue.Called), y.events.count(queue.Struck))
			if took > 13*time.Second {
				b.Errorf("%d dead waiters cost %v", dead, took)
			}
			b.unlock(y.Mutex("m"))
		})
	}
}
