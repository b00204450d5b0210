package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/gcsync/gcsync/gcstest"
)

// A client in a process of its own: the parent, in which the players and the referee are, tells it what to do, one line of
// JSON each, and waits for the answer. So the referee learns of an Unlock before it is called and of a Lock after it has
// returned, as it does with clients in its own process: what it says about exclusion holds.

// childEnv is the environment variable that makes a program a client, and says of what.
const childEnv = "GCSYNC_BENCH_CLIENT"

// birth is what a client has to know.
type birth struct {
	Lock     string        `json:"lock"`
	Emulator string        `json:"emulator"`
	Bucket   string        `json:"bucket"`
	Prefix   string        `json:"prefix"`
	TTL      time.Duration `json:"ttl"`
	Linger   bool          `json:"linger"`
	Quiet    bool          `json:"quiet"`
	Model    gcstest.Model `json:"model"`
}

// message is a line. The parent asks: locker, lock, unlock, once, and cancel, which has no answer. The client answers
// with the same word and number. By itself it says lost, and work: f of a once is to be run, which the parent answers
// with done.
type message struct {
	Op    string `json:"op"`
	ID    int    `json:"id"` // of the locker
	Want  Want   `json:"want,omitzero"`
	Name  string `json:"name,omitempty"`
	Token int64  `json:"token,omitempty"`
	Err   string `json:"err,omitempty"`
	Code  string `json:"code,omitempty"` // which of the errors that the harness knows
	Usage Usage  `json:"usage"`          // of the client so far
}

var codes = map[string]error{"unsupported": ErrUnsupported, "again": ErrAgain, "lost": ErrLost}

func (m *message) fail(err error) {
	if err == nil {
		return
	}
	m.Err = err.Error()
	for code, known := range codes {
		if errors.Is(err, known) {
			m.Code = code
		}
	}
}

func (m *message) err() error {
	switch known := codes[m.Code]; {
	case m.Err == "":
		return nil
	case known != nil:
		return fmt.Errorf("%w: %s", known, m.Err)
	}
	return errors.New(m.Err)
}

// peer is one end of the conversation.
type peer struct {
	mu  sync.Mutex
	enc *json.Encoder
}

func (p *peer) send(m message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.enc.Encode(m)
}

// process is a client in another process, as seen from the parent.
type process struct {
	peer
	cmd   *exec.Cmd
	stdin io.Closer
	wire  *wire
	past  Usage         // what the wire had counted before
	ended chan struct{} // when it has said its last word

	state   sync.Mutex
	lockers []*remote
}

var errEnded = errors.New("the client's process has ended")

// spawn starts this program again as a client.
func spawn(ctx context.Context, l Lock, s Setup, svc *service, w *wire) (Client, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(birth{
		Lock: l.Name(), Emulator: svc.emulator, Bucket: svc.bucket,
		Prefix: s.Prefix, TTL: s.TTL, Linger: s.Linger, Quiet: s.Quiet, Model: s.Model,
	})
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), self)
	cmd.Env = append(os.Environ(), childEnv+"="+string(b))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{peer: peer{enc: json.NewEncoder(stdin)}, cmd: cmd, stdin: stdin, wire: w, past: w.usage(), ended: make(chan struct{})}
	go p.listen(stdout)
	return p, nil
}

func (p *process) listen(stdout io.Reader) {
	defer close(p.ended)
	dec := json.NewDecoder(stdout)
	for {
		var m message
		if dec.Decode(&m) != nil {
			return
		}
		p.wire.set(p.past.plus(m.Usage))
		if m.Op == "usage" {
			continue
		}
		p.state.Lock()
		r := p.lockers[m.ID]
		p.state.Unlock()
		switch m.Op {
		case "lost":
			r.lose()
		case "work":
			go r.run()
		default:
			r.answers <- m
		}
	}
}

// Locker implements [Client].
func (p *process) Locker(w Want) (Locker, error) {
	r := &remote{process: p, answers: make(chan message, 1)}
	p.state.Lock()
	r.id = len(p.lockers)
	p.lockers = append(p.lockers, r)
	p.state.Unlock()
	_, err := r.ask(context.Background(), message{Op: "locker", Want: w})
	return r, err
}

// Close implements [Client].
func (p *process) Close(ctx context.Context) error {
	_ = p.stdin.Close() // tells it to end
	select {
	case <-p.ended:
	case <-ctx.Done():
		_ = p.cmd.Process.Kill()
		<-p.ended
		_ = p.cmd.Wait()
		return context.Cause(ctx)
	}
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("client %d: %w", p.cmd.Process.Pid, err)
	}
	return nil
}

// Crash implements [Crasher].
func (p *process) Crash() { _ = p.cmd.Process.Kill() }

// remote is a Locker in another process.
type remote struct {
	process *process
	id      int
	answers chan message

	mu   sync.Mutex
	lost chan struct{} // of the current hold
	work func() error
}

// ask sends a message and waits for its answer. If ctx ends first the client is told, and the answer waited for still.
func (r *remote) ask(ctx context.Context, m message) (message, error) {
	m.ID = r.id
	if err := r.process.send(m); err != nil {
		return m, fmt.Errorf("%w: %w", errEnded, err)
	}
	done := ctx.Done()
	for {
		select {
		case answer := <-r.answers:
			if err := answer.err(); err != nil {
				if cause := context.Cause(ctx); cause != nil {
					err = cause
				}
				return answer, err
			}
			return answer, nil
		case <-r.process.ended:
			return m, errEnded
		case <-done:
			done = nil
			_ = r.process.send(message{Op: "cancel", ID: r.id})
		}
	}
}

func (r *remote) Lock(ctx context.Context) (int64, error) {
	r.mu.Lock()
	r.lost = make(chan struct{})
	r.mu.Unlock()
	m, err := r.ask(ctx, message{Op: "lock"})
	return m.Token, err
}

func (r *remote) Unlock(context.Context) error {
	_, err := r.ask(context.Background(), message{Op: "unlock"})
	return err
}

// Once runs f in this process: it is the referee's.
func (r *remote) Once(ctx context.Context, name string, f func(context.Context) error) error {
	r.mu.Lock()
	r.work = func() error { return f(ctx) }
	r.mu.Unlock()
	_, err := r.ask(ctx, message{Op: "once", Name: name})
	return err
}

func (r *remote) run() {
	r.mu.Lock()
	work := r.work
	r.mu.Unlock()
	done := message{Op: "done", ID: r.id}
	done.fail(work())
	_ = r.process.send(done) // should it have ended, others will say so
}

// Lost implements [Leaser].
func (r *remote) Lost() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}

func (r *remote) lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.lost:
	default:
		close(r.lost)
	}
}

// Child reports whether this process is to be a client of one of the locks; it then is one until it is told to end, and
// code is its exit code.
func Child(locks []Lock, stdin io.Reader, stdout io.Writer) (code int, is bool) {
	var err error
	if url, scales := os.LookupEnv(scaleEnv); scales {
		is, err = true, scaleChild(url, stdin, stdout)
	} else if text, lives := os.LookupEnv(childEnv); lives {
		is, err = true, child(text, locks, stdin, stdout)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: client %d: %v\n", os.Getpid(), err)
		return exitFailed, true
	}
	return exitOK, is
}

func child(text string, locks []Lock, stdin io.Reader, stdout io.Writer) error {
	var b birth
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		return err
	}
	l, err := lockCalled(locks, b.Lock)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	s, w, err := dialTo(b.Emulator)(ctx)
	if err != nil {
		return err
	}
	c, err := l.Client(ctx, Setup{
		Bucket: s.Bucket(b.Bucket), Prefix: b.Prefix, TTL: b.TTL, Linger: b.Linger, Quiet: b.Quiet, Model: b.Model,
	})
	if err != nil {
		return err
	}
	servant := &servant{peer: peer{enc: json.NewEncoder(stdout)}, client: c, wire: w, lockers: make(map[int]*served)}
	ticking := make(chan struct{})
	go func() {
		defer close(ticking)
		for ctx.Err() == nil {
			sleep(ctx, 100*time.Millisecond)
			servant.say(message{Op: "usage"})
		}
	}()
	servant.serve(ctx, stdin)
	stop(errOver)
	servant.busy.Wait()
	<-ticking
	closing, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return errors.Join(c.Close(closing), s.Close())
}

// servant does what the parent says.
type servant struct {
	peer
	client Client
	wire   *wire
	busy   sync.WaitGroup

	lockers map[int]*served
}

// served is a locker of the client.
type served struct {
	id     int
	locker Locker
	cancel context.CancelFunc // of the call under way
	done   chan message       // f has been run

	mu   sync.Mutex
	over chan struct{} // the hold is
}

// hold begins a hold, or ends it.
func (l *served) hold(begins bool) (over <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over != nil {
		close(l.over)
		l.over = nil
	}
	if begins {
		l.over = make(chan struct{})
	}
	return l.over
}

func (s *servant) say(m message) {
	m.Usage = s.wire.usage()
	_ = s.send(m) // a parent that is gone needs no answer
}

// serve answers until the parent ends the conversation.
func (s *servant) serve(ctx context.Context, stdin io.Reader) {
	dec := json.NewDecoder(stdin)
	for {
		var m message
		if dec.Decode(&m) != nil {
			return
		}
		if m.Op == "locker" {
			l, err := s.client.Locker(m.Want)
			s.lockers[m.ID] = &served{id: m.ID, locker: l, done: make(chan message, 1)}
			m.fail(err)
			s.say(m)
			continue
		}
		l := s.lockers[m.ID]
		switch m.Op {
		case "cancel":
			if l.cancel != nil {
				l.cancel()
			}
		case "done":
			l.done <- m
		default:
			call, cancel := context.WithCancel(ctx)
			l.cancel = cancel
			s.busy.Go(func() {
				defer cancel()
				s.say(s.call(ctx, call, l, m))
			})
		}
	}
}

// call makes the call that m asks for and returns the answer. The call ends with call, and everything with all.
func (s *servant) call(all, call context.Context, l *served, m message) message {
	var err error
	switch m.Op {
	case "lock":
		m.Token, err = l.locker.Lock(call)
		if leaser, ok := l.locker.(Leaser); ok && err == nil {
			s.watch(all, leaser.Lost(), l.hold(true), m.ID)
		}
	case "unlock":
		l.hold(false)
		err = l.locker.Unlock(context.WithoutCancel(all))
	case "once":
		err = l.locker.(Oncer).Once(call, m.Name, func(context.Context) error {
			s.say(message{Op: "work", ID: m.ID})
			done := <-l.done
			return done.err()
		})
	}
	m.fail(err)
	return m
}

// watch tells the parent of a loss before the hold is over.
func (s *servant) watch(ctx context.Context, lost, over <-chan struct{}, id int) {
	s.busy.Go(func() {
		select {
		case <-ctx.Done():
		case <-over:
		case <-lost:
			select {
			case <-over:
			default:
				s.say(message{Op: "lost", ID: id})
			}
		}
	})
}
