package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// terminal returns the two sides of a new terminal.
func (w *world) terminal() (ours, theirs *os.File) {
	w.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		w.Skipf("no terminals here: %v", err)
	}
	w.Cleanup(func() { ours.Close() })
	var number, unlock int32
	for request, arg := range map[uintptr]*int32{syscall.TIOCSPTLCK: &unlock, syscall.TIOCGPTN: &number} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, ours.Fd(), request, uintptr(unsafe.Pointer(arg))); errno != 0 {
			w.Skipf("no terminals here: %v", errno)
		}
	}
	if theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		w.Skipf("no terminals here: %v", err)
	}
	return ours, theirs
}

// On a terminal, the command can read what is typed, Ctrl-C is for it, and whoever waits is told for whom.
func TestOnATerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	on := func(args ...string) (p *proc, screen *safeBuffer, keys *os.File) {
		ours, theirs := w.terminal()
		cmd := w.command(args...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		theirs.Close()
		p = &proc{w: w, cmd: cmd, ended: make(chan struct{})}
		screen = new(safeBuffer)
		read := make(chan struct{})
		go func() {
			defer close(read)
			buf := make([]byte, 4096)
			for {
				n, err := ours.Read(buf)
				_, _ = screen.Write(buf[:n])
				if err != nil {
					return
				}
			}
		}()
		go func() {
			p.err = cmd.Wait()
			close(p.ended)
		}()
		t.Cleanup(func() {
			_ = cmd.Process.Kill() // it may have ended
			<-p.ended
			ours.Close()
			<-read
		})
		return p, screen, ours
	}
	shows := func(screen *safeBuffer, text string) {
		t.Helper()
		w.until("the terminal shows "+text, func() bool { return strings.Contains(screen.String(), text) })
	}

	p, screen, keys := on("lock", "gs://bbb/m", "--", "sh", "-c", `echo ready; read word; echo "got <$word>"; exec sleep 60`)
	shows(screen, "ready")
	waiter, waiting, _ := on("lock", "gs://bbb/m", "--", "echo", "my turn")
	shows(waiting, fmt.Sprintf("held by gcsync/%d on ", p.cmd.Process.Pid))
	shows(waiting, "we are number 1 of 1")
	if _, err := keys.WriteString("hello\n"); err != nil {
		t.Fatal(err)
	}
	shows(screen, "got <hello>")
	if _, err := keys.WriteString("\x1a\x03"); err != nil { // Ctrl-Z does nothing, Ctrl-C ends it
		t.Fatal(err)
	}
	p.want(130)
	shows(waiting, "my turn")
	waiter.want(0)

	p, screen, _ = on("lock", "gs://bbb/n", "--", "sh", "-c", "echo ready; exec sleep 60")
	shows(screen, "ready")
	waiter, waiting, keys = on("lock", "gs://bbb/n", "--", "true")
	shows(waiting, "held by")
	if _, err := keys.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	waiter.want(130)
	p.signal(syscall.SIGTERM)
	p.want(143)
	w.free("n")
}

// If gcsync is killed, its command is.
func TestKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "beat")
	p := w.start(lockArgs("m", "--", "sh", "-c", "trap '' TERM; echo x >> "+file+"; echo in; while :; do echo x >> "+file+"; sleep 0.01; done")...)
	p.line()
	p.signal(syscall.SIGKILL)
	p.want(-int(syscall.SIGKILL))
	w.until("the command is gone", func() bool { return w.quiet(file) })
	w.start(lockArgs("m", "--", "true")...).want(0)
}
