package main

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
)

// Bob's acquisition links to Alice's, in the picture and in full.
func TestHandOff(t *testing.T) {
	for full, want := range map[bool]string{false: "waited for alice's gcsync.acquire", true: `"gcsync.holder"`} {
		synctest.Test(t, func(t *testing.T) {
			var out strings.Builder
			if err := run(context.Background(), &out, full); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(out.String(), want) {
				t.Errorf("there is no %q in\n%s", want, out.String())
			}
		})
	}
}
