package main

import "syscall"

// dieWithParent has the kernel kill the command if gcsync is killed.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

// adopt has processes whose parents have ended become children of ours, so that we see when the last of them is gone:
// in a container nobody else may be there to bury them.
func adopt() {
	const setChildSubreaper = 36 // PR_SET_CHILD_SUBREAPER
	_, _, _ = syscall.RawSyscall6(syscall.SYS_PRCTL, setChildSubreaper, 1, 0, 0, 0, 0)
}
