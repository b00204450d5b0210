package gcstest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gcsync/gcsync/gcstest"
)

// TestClaim is the test that the package's example speaks of: however many
// workers try under whatever faults, one gets the task at most.
func TestClaim(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			server := gcstest.New(gcstest.Model{Median: 30 * time.Millisecond, P99: 120 * time.Millisecond, Rate: 1, Seed: seed})
			defer server.Close()
			server.CreateBucket("tasks", gcstest.BucketConfig{})

			claims := make(chan bool)
			for worker := range uint64(10) {
				faults := gcstest.NewFaults(seed*10 + worker)
				defer faults.Close()
				faults.Random(gcstest.Profile{
					Odds: map[gcstest.FaultKind]float64{
						gcstest.Reset: 0.1, gcstest.LoseAnswer: 0.2, gcstest.Ghost: 0.1, gcstest.DuplicateLast: 0.2,
					},
					MaxDelay: time.Second,
				})
				marker := server.Client(faults).Bucket("tasks").Object("task-1")
				go func() {
					ok, err := claim(t.Context(), marker, string('a'+rune(worker)))
					claims <- ok && err == nil
				}()
			}
			won := 0
			for range 10 {
				if <-claims {
					won++
				}
			}
			if won > 1 {
				t.Errorf("seed %d: %d workers have the task", seed, won)
			}
		})
	}
}
