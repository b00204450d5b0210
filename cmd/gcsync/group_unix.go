//go:build unix

package main

import (
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
)

// forwarded are the signals that are the command's business, not ours.
var forwarded = []os.Signal{
	syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
}

func number(s os.Signal) int {
	if s, ok := s.(syscall.Signal); ok {
		return int(s)
	}
	return 0
}

// group is a command and all that it starts: a process group of its own, which can be ended as a whole.
type group struct {
	cmd    *exec.Cmd
	exited <-chan struct{} // closed when the command itself has ended
	tty    *terminal       // whose foreground the group is; nil: none
}

func startGroup(cmd *exec.Cmd) (*group, error) {
	adopt()
	g := &group{cmd: cmd, tty: foreground()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if g.tty != nil {
		// The terminal is the command's while it runs, and so is Ctrl-C. To stop it with Ctrl-Z would hold the lock.
		cmd.SysProcAttr.Foreground, cmd.SysProcAttr.Ctty = true, g.tty.fd
		signal.Ignore(syscall.SIGTSTP)
	}
	dieWithParent(cmd.SysProcAttr)
	started, exited := make(chan error), make(chan struct{})
	g.exited = exited
	go func() {
		runtime.LockOSThread() // to the kernel, the thread that has started the command is its parent
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // its state tells
			close(exited)
		}
	}()
	if err := <-started; err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *group) signal(s os.Signal) {
	if s, ok := s.(syscall.Signal); ok {
		_ = syscall.Kill(-g.cmd.Process.Pid, s) // it may be gone
		if slices.Contains(ending, s) {
			_ = syscall.Kill(-g.cmd.Process.Pid, syscall.SIGCONT) // one that is stopped would not notice
		}
	}
}

// ending are the signals that mean an end. A job in the background may have been stopped by its terminal.
var ending = []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT}

func (g *group) terminate() { g.signal(syscall.SIGTERM) }

func (g *group) kill() { g.signal(syscall.SIGKILL) }

// alive reports whether anything of the group is left.
func (g *group) alive() bool {
	pid := g.cmd.Process.Pid
	select {
	case <-g.exited: // its children may be ours now
		for {
			if reaped, err := syscall.Wait4(-pid, nil, syscall.WNOHANG, nil); reaped <= 0 && err != syscall.EINTR {
				break
			}
		}
	default:
	}
	return syscall.Kill(-pid, 0) != syscall.ESRCH
}

// close gives the terminal back.
func (g *group) close() {
	if g.tty != nil {
		g.tty.takeBack()
	}
}

// exitCode is the command's, the way that shells tell it.
func (g *group) exitCode() int {
	status, ok := g.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return exitSignal + int(status.Signal())
	}
	return g.cmd.ProcessState.ExitCode()
}
