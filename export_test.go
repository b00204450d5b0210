package gcsync

import (
	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/queue"
)

// Instrument puts a clock and a listener for the protocol's branches into options, for tests only.
func Instrument(o *Options, c clock.Clock, event func(e queue.Event, path string)) {
	o.clock, o.event = c, event
}

// Names returns how many names a client keeps in memory.
func Names(c *Client) int { return c.queue.Len() }

// SkipPasses makes the current tenure of a name believe that so many local turns have passed.
func SkipPasses(c *Client, name string, n int64) { c.queue.SkipPasses(name, n) }
