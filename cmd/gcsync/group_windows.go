package main

import (
	"os"
	"os/exec"
	"syscall"
)

// forwarded are the signals that are the command's business, not ours. The console sends Ctrl-C to both of us.
var forwarded = []os.Signal{os.Interrupt, syscall.SIGTERM}

func number(s os.Signal) int {
	if s, ok := s.(syscall.Signal); ok {
		return int(s)
	}
	return 0
}

// group is the command. What it has started cannot be ended with it here.
type group struct {
	cmd    *exec.Cmd
	exited <-chan struct{}
}

func startGroup(cmd *exec.Cmd) (*group, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // its state tells
		close(exited)
	}()
	return &group{cmd: cmd, exited: exited}, nil
}

func (g *group) signal(os.Signal) {}

func (g *group) terminate() { g.kill() }

func (g *group) kill() { _ = g.cmd.Process.Kill() } // it may be gone

func (g *group) alive() bool {
	select {
	case <-g.exited:
		return false
	default:
		return true
	}
}

func (g *group) close() {}

func (g *group) exitCode() int { return g.cmd.ProcessState.ExitCode() }
