//go:build linux || darwin || freebsd || netbsd

package main

import (
	"os"
	"os/signal"
	"syscall"
	"unsafe"
)

// terminal is the one that we were started from in the foreground.
type terminal struct {
	fd   int
	pgrp int32 // ours
}

// foreground returns the terminal on the standard input if it is ours to give away.
func foreground() *terminal {
	t := &terminal{fd: int(os.Stdin.Fd()), pgrp: int32(syscall.Getpgrp())}
	var front int32
	if t.ioctl(syscall.TIOCGPGRP, &front) != nil || front != t.pgrp {
		return nil
	}
	return t
}

// takeBack makes us the foreground again. Whoever does that from the background must not mind SIGTTOU.
func (t *terminal) takeBack() {
	signal.Ignore(syscall.SIGTTOU)
	_ = t.ioctl(syscall.TIOCSPGRP, &t.pgrp) // a terminal that is gone needs no foreground
}

func (t *terminal) ioctl(request uintptr, pgrp *int32) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(t.fd), request, uintptr(unsafe.Pointer(pgrp))); errno != 0 {
		return errno
	}
	return nil
}
