package gcsync_test

import (
	"context"
	"testing"

	"github.com/gcsync/gcsync"
)

func TestOnceValue(t *testing.T) {
	inBubble(t, typical, func(b *bed) {
		x, y := b.host("x"), b.host("y")
		for _, h := range []*host{x, y} {
			v, err := gcsync.OnceValue(h.Once("v"), func(context.Context) (string, error) { return "by " + t.Name(), nil })(b.Context())
			if err != nil || v != "by "+t.Name() {
				b.Errorf("%q, %v", v, err)
			}
		}
	})
}
