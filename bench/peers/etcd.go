package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"os"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"gonum.org/v1/gonum/stat/distuv"
	"google.golang.org/grpc"

	"github.com/gcsync/gcsync/bench/internal/harness"
	"github.com/gcsync/gcsync/gcstest"
)

// etcd is concurrency.Mutex and concurrency.Election of go.etcd.io/etcd, on a server in this process, for perspective: what
// is possible where there is a server to ask. Its round trips are made to take as long as those of the bucket, so that
// only the protocols are compared; in the same zone they would take a millisecond or two.
type etcd struct{}

// etcdEnv tells clients in other processes where the server is.
const etcdEnv = "GCSYNC_BENCH_ETCD"

func (etcd) Name() string { return "etcd" }
func (etcd) OffBucket()   {}

var server struct {
	sync.Mutex
	etcd *embed.Etcd
	dir  string
}

// Prepare starts the server, once.
func (etcd) Prepare() error {
	server.Lock()
	defer server.Unlock()
	if server.etcd != nil {
		return nil
	}
	dir, err := os.MkdirTemp("", "gcsync-bench-etcd-")
	if err != nil {
		return err
	}
	server.dir = dir
	loopback := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg := embed.NewConfig()
	cfg.Dir = dir
	cfg.ListenClientUrls, cfg.ListenPeerUrls = []url.URL{loopback}, []url.URL{loopback}
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	server.etcd = e
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(time.Minute):
		return errors.New("etcd is not ready after a minute")
	}
	return os.Setenv(etcdEnv, e.Clients[0].Addr().String())
}

// stopEtcd stops the server, if there is one, and removes its data.
func stopEtcd() error {
	server.Lock()
	defer server.Unlock()
	if server.etcd != nil {
		server.etcd.Close()
		server.etcd = nil
	}
	return os.RemoveAll(server.dir)
}

func (etcd) Client(ctx context.Context, s harness.Setup) (harness.Client, error) {
	d := newDelay(s.Model)
	c, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{os.Getenv(etcdEnv)},
		DialTimeout: 10 * time.Second,
		Logger:      zap.NewNop(),
		DialOptions: []grpc.DialOption{
			grpc.WithChainUnaryInterceptor(d.unary), grpc.WithChainStreamInterceptor(d.stream),
		},
	})
	if err != nil {
		return nil, err
	}
	return &etcdClient{client: c, setup: s}, nil
}

type etcdClient struct {
	client *clientv3.Client
	setup  harness.Setup

	mu       sync.Mutex
	sessions []*concurrency.Session
}

// Locker implements [harness.Client]. Each has a session of its own: within one, a mutex excludes nobody.
func (c *etcdClient) Locker(w harness.Want) (harness.Locker, error) {
	if w.Kind != harness.Mutex && w.Kind != harness.Election {
		return nil, harness.ErrUnsupported
	}
	s, err := concurrency.NewSession(c.client, concurrency.WithTTL(int(c.setup.TTL/time.Second)))
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.sessions = append(c.sessions, s)
	c.mu.Unlock()
	if w.Kind == harness.Election {
		return &etcdElection{session: s, election: concurrency.NewElection(s, c.setup.Prefix+"election")}, nil
	}
	return &etcdMutex{session: s, mutex: concurrency.NewMutex(s, c.setup.Prefix+"lock")}, nil
}

// Crash implements [harness.Crasher].
func (c *etcdClient) Crash() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sessions {
		s.Orphan()
	}
	c.sessions = nil
	_ = c.client.Close()
}

func (c *etcdClient) Close(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, s := range c.sessions {
		errs = append(errs, s.Close())
	}
	c.sessions = nil
	errs = append(errs, c.client.Close())
	return errors.Join(errs...)
}

type etcdMutex struct {
	session *concurrency.Session
	mutex   *concurrency.Mutex
}

func (m *etcdMutex) Lock(ctx context.Context) (int64, error) {
	if err := m.mutex.Lock(ctx); err != nil {
		return 0, why(ctx, err)
	}
	return m.mutex.Header().Revision, nil
}

func (m *etcdMutex) Unlock(ctx context.Context) error { return expired(m.session, m.mutex.Unlock(ctx)) }
func (m *etcdMutex) Lost() <-chan struct{}            { return m.session.Done() }

type etcdElection struct {
	session  *concurrency.Session
	election *concurrency.Election
}

func (e *etcdElection) Lock(ctx context.Context) (int64, error) {
	if err := e.election.Campaign(ctx, "candidate"); err != nil {
		return 0, why(ctx, err)
	}
	return e.election.Rev(), nil
}

func (e *etcdElection) Unlock(ctx context.Context) error {
	return expired(e.session, e.election.Resign(ctx))
}
func (e *etcdElection) Lost() <-chan struct{} { return e.session.Done() }

// expired says in the words of the harness that a session has ended before its lock was released.
func expired(s *concurrency.Session, err error) error {
	select {
	case <-s.Done():
		if err != nil {
			return fmt.Errorf("%w: %w", harness.ErrLost, err)
		}
	default:
	}
	return err
}

// delay makes the messages of a connection take as long as requests to the bucket: half of a round trip each way.
type delay struct{ roundTrip *distuv.LogNormal }

func newDelay(m gcstest.Model) delay {
	if m.Median <= 0 {
		return delay{}
	}
	z99 := distuv.UnitNormal.Quantile(0.99)
	sigma := math.Log(float64(max(m.P99, m.Median))/float64(m.Median)) / z99
	return delay{&distuv.LogNormal{Mu: math.Log(float64(m.Median)), Sigma: sigma, Src: rand.NewPCG(m.Seed, 3)}}
}

var drawing sync.Mutex // a source of random numbers is not safe for concurrent use

func (d delay) oneWay() {
	if d.roundTrip == nil {
		return
	}
	drawing.Lock()
	t := time.Duration(d.roundTrip.Rand() / 2)
	drawing.Unlock()
	time.Sleep(t)
}

func (d delay) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	d.oneWay()
	err := invoke(ctx, method, req, reply, cc, opts...)
	d.oneWay()
	return err
}

func (d delay) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(ctx, desc, cc, method, opts...)
	if err != nil {
		return nil, err
	}
	return delayed{s, d}, nil
}

type delayed struct {
	grpc.ClientStream
	delay
}

func (s delayed) SendMsg(m any) error {
	s.oneWay()
	return s.ClientStream.SendMsg(m)
}

func (s delayed) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	s.oneWay()
	return err
}
