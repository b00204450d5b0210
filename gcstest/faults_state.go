package gcstest

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
)

// errCrashed is what a crashed machine's requests return.
var errCrashed = errors.New("gcstest: the machine has crashed")

// errReset returns the error of a connection that the other side has reset, as
// a real transport does.
func errReset() error {
	return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
}

// Partition cuts the machine off the network, or heals that. While it is cut
// off no request leaves and no answer arrives, not even those to requests sent
// before, which the service still carries out. The requests hang until their
// contexts end; healing resets the connections of those that hang.
func (f *Faults) Partition(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case on && f.cut == nil:
		f.cut = make(chan struct{})
	case !on && f.cut != nil:
		close(f.cut)
		f.cut = nil
	}
}

// Pause stops the machine the way SIGSTOP stops a process, as far as its
// requests go: none leaves, no answer is seen, and not even the end of a
// context is noticed until [Faults.Resume]. The network goes on meanwhile: what
// has been sent is carried out and answered.
func (f *Faults) Pause() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped == nil {
		f.stopped = make(chan struct{})
	}
}

// Resume ends a [Faults.Pause]. Answers that have arrived are delivered, even
// to callers whose context has ended meanwhile. Requests that were about to
// leave do so now, even if their context has ended meanwhile: as in a real
// process, nothing looks at it once more between the stop and the network.
func (f *Faults) Resume() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped != nil {
		close(f.stopped)
		f.stopped = nil
	}
}

// Crash ends the machine for good: every request fails without being sent, and
// those in flight fail too, although the service still carries them out.
func (f *Faults) Crash() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.dead {
		f.dead = true
		close(f.crashed)
	}
}

// gates returns the channels that are closed when the partition and the pause
// end, nil for what is not on.
func (f *Faults) gates() (cut, stopped <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cut, f.stopped
}

// awake returns when the machine is not paused, and whether it still lives.
func (f *Faults) awake() bool {
	for {
		_, stopped := f.gates()
		if stopped == nil {
			break
		}
		select {
		case <-stopped:
		case <-f.crashed:
			return false
		}
	}
	select {
	case <-f.crashed:
		return false
	default:
		return true
	}
}

// depart returns nil when a request may leave the machine.
func (f *Faults) depart(ctx context.Context) error {
	if !f.awake() {
		return errCrashed
	}
	if cut, _ := f.gates(); cut != nil {
		return f.await(ctx, nil, cut).err
	}
	return nil
}

// await returns what comes first: an answer, the end of the partition behind
// cut, the end of the context or of the machine.
func (f *Faults) await(ctx context.Context, done <-chan result, cut <-chan struct{}) result {
	select {
	case r := <-done:
		return r
	case <-cut:
		return result{err: errReset()}
	case <-f.crashed:
		return result{err: errCrashed}
	case <-ctx.Done():
	}
	if !f.awake() {
		return result{err: errCrashed}
	}
	select {
	case r := <-done: // it came while the end of the context was not noticed
		return r
	default:
		return result{err: ctx.Err()}
	}
}
