package gcsync

import (
	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/queue"
)

// Instrument puts a clock and a listener for the protocol's branches into options, for tests only.
func Instrument(o *Options, c clock.Clock, event func(e queue.Event, path string)) {
	o.clock, o.event = c, event
}

// Mute has the client tell nothing to OpenTelemetry, not even to nobody.
func Mute(o *Options) { o.mute = true }

// Names returns how many names a client keeps in memory.
func Names(c *Client) int { return c.queue.Len() }

// SkipPasses makes the current tenure of a name believe that so many local turns have passed.
func SkipPasses(c *Client, name string, n int64) { c.queue.SkipPasses(name, n) }

// Forgetful has a client ask the bucket each time whether a once is done, for tests that compare what it says.
func Forgetful(c *Client) { c.onces.forgetful = true }

// Remembered returns how many names a client keeps in memory for what it knows of their registers.
func Remembered(c *Client) int {
	c.onces.mu.Lock()
	defer c.onces.mu.Unlock()
	c.slots.mu.Lock()
	defer c.slots.mu.Unlock()
	return len(c.onces.names) + len(c.slots.names)
}
