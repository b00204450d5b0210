package gcsync_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/internal/queue"
)

// TestElectionSimulation is TestSimulation for terms of office.
func TestElectionSimulation(t *testing.T) {
	schedules(t, 50, func(t *testing.T, seed uint64) { newWorld(t, seed, electionKind, new(branches)).run() })
}

// electionKind is gcsync's election: to lead is to hold.
var electionKind = lockKind{slots: 1, weights: []int64{1}, boot: newElections}

type elections struct{ c *gcsync.Client }

type termHold struct{ *gcsync.Term }

func newElections(m *machine) locks { return elections{newSolo(m, func(*gcsync.Options) {})} }

// newSolo returns the client of a machine that uses single objects. Its wall clock is wrong; the service's times are
// everybody's, since an object has one time of creation whoever reads it.
func newSolo(m *machine, change func(*gcsync.Options)) *gcsync.Client {
	m.faults.Skew(0, 0)
	opts := &gcsync.Options{
		Owner:  fmt.Sprintf("machine-%d", m.id),
		TTL:    []time.Duration{4, 10, 30}[m.w.rng.IntN(3)] * time.Second,
		Logger: slog.New(slog.DiscardHandler),
	}
	change(opts)
	gcsync.Instrument(opts, m.clock(), func(queue.Event, string) {})
	c, err := gcsync.New(m.storage.Bucket(bucket), opts)
	if err != nil {
		m.w.t.Fatal(err)
	}
	return c
}

func (l elections) take(ctx context.Context, name string, _ int64, try bool) (hold, error) {
	if try { // there is no such call; whoever is in a hurry sets a limit
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Second)
		defer cancel()
	}
	t, err := l.c.Election(name).Campaign(ctx, "here")
	if err != nil {
		return nil, err
	}
	return termHold{t}, nil
}

func (l elections) close(ctx context.Context) { l.c.Close(ctx) }

func (h termHold) unlock(ctx context.Context) error { return h.Resign(ctx) }

func (h termHold) Token() int64 { return h.Number() }

// record is what is never deleted.
func (h termHold) record(int64) string { return "run" }
