package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/option"
	htransport "google.golang.org/api/transport/http"

	"github.com/gcsync/gcsync"
)

// connection are the flags that say how to reach a bucket, and what is opened with them.
type connection struct {
	credentials string
	grpc        bool
	verbose     bool
	prefix      string
	ttl, claim  time.Duration
	owner       string
	waits       bool // for others, so that it may take long

	a       *app
	target  target
	storage *storage.Client
	bucket  *storage.BucketHandle
	client  *gcsync.Client
}

// register adds the flags that every command has which uses a bucket.
func (c *connection) register(f *flag.FlagSet) {
	f.StringVar(&c.credentials, "credentials", "", "`file` with the credentials to use, in place of the application default")
	f.BoolVar(&c.grpc, "grpc", false, "talk gRPC to the service")
	f.BoolVar(&c.verbose, "v", false, "log each step on the standard error")
}

// registerPrefix adds the flag that says where gcsync's objects are.
func (c *connection) registerPrefix(f *flag.FlagSet) {
	f.StringVar(&c.prefix, "prefix", "gcsync/", "what the names of all `objects` begin with; all clients must agree on it")
}

// registerHold adds the flags of those who hold something.
func (c *connection) registerHold(f *flag.FlagSet) {
	c.registerPrefix(f)
	durationVar(f, &c.ttl, "ttl", 30*time.Second, "how long a holder that was renewing may be silent before others take over")
	durationVar(f, &c.claim, "claim", 0, "the same for one that has not renewed yet (default 10s, or the TTL if that is shorter)")
	f.StringVar(&c.owner, "owner", "gcsync", "`name` to show to others; the process number is added")
}

// open opens the bucket. Nothing is sent yet.
func (c *connection) open(ctx context.Context, a *app, t target) error {
	c.a, c.target = a, t
	if c.grpc && os.Getenv("STORAGE_EMULATOR_HOST") != "" && os.Getenv("STORAGE_EMULATOR_HOST_GRPC") == "" {
		return usagef("-grpc: STORAGE_EMULATOR_HOST is for JSON: set STORAGE_EMULATOR_HOST_GRPC for an emulator that speaks gRPC, or leave -grpc away")
	}
	restore := c.credential()
	var err error
	if c.grpc {
		c.storage, err = storage.NewGRPCClient(ctx)
	} else {
		c.storage, err = dial(ctx)
	}
	restore()
	if err != nil {
		return &failure{exitService, fmt.Errorf("no access to Cloud Storage: %w", err)}
	}
	c.bucket = c.storage.Bucket(t.bucket)
	c.owner = fmt.Sprintf("%s/%d", c.owner, os.Getpid())
	if err := c.newClient(); err != nil {
		c.storage.Close()
		return err
	}
	return nil
}

// dial connects to the service over JSON, by a transport of our own: HTTP/2 has one connection, and if the network swallows all
// that is sent on it, every request times out, though a new connection would do. The client of Google's finds that out after
// 46 s, which is longer than a lease. Here it takes five.
func dial(ctx context.Context) (*storage.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 100 // as in the client of Google's
	transport.HTTP2 = &http.HTTP2Config{SendPingTimeout: 3 * time.Second, PingTimeout: 2 * time.Second}
	if os.Getenv("STORAGE_EMULATOR_HOST") != "" {
		return storage.NewClient(ctx, option.WithHTTPClient(&http.Client{Transport: transport}))
	}
	authenticated, err := htransport.NewTransport(ctx, transport, option.WithScopes(storage.ScopeFullControl, "https://www.googleapis.com/auth/cloud-platform"))
	if err != nil {
		return nil, err
	}
	return storage.NewClient(ctx, option.WithHTTPClient(&http.Client{Transport: authenticated}))
}

// newClient makes the client, or another one.
func (c *connection) newClient() error {
	if c.client != nil {
		ctx, cancel := context.WithTimeout(context.Background(), farewell)
		defer cancel()
		if err := c.client.Close(ctx); err != nil {
			return err
		}
	}
	var err error
	c.client, err = gcsync.New(c.bucket, &gcsync.Options{
		Prefix: c.prefix, Owner: c.owner, TTL: c.ttl, Claim: c.claim, Linger: -1, Logger: c.logger(),
	})
	if err != nil {
		text := strings.NewReplacer("gcsync: Options.TTL: ", "-ttl ", "gcsync: Options.Claim: ", "-claim ", "gcsync: Options.Claim of", "-claim").Replace(err.Error())
		return usagef("%s", text)
	}
	return nil
}

// credential puts the file where the storage client looks for it, and returns what takes it away again: the user's
// command is not to inherit it.
func (c *connection) credential() (restore func()) {
	const key = "GOOGLE_APPLICATION_CREDENTIALS"
	if c.credentials == "" {
		return func() {}
	}
	was, there := os.LookupEnv(key)
	os.Setenv(key, c.credentials)
	return func() {
		if there {
			os.Setenv(key, was)
		} else {
			os.Unsetenv(key)
		}
	}
}

func (c *connection) logger() *slog.Logger {
	if !c.verbose && !c.waits {
		return slog.New(slog.DiscardHandler) // it ends soon, and says why
	}
	if !c.verbose {
		return slog.New(outages{c.a}) // what else matters is said by the command itself
	}
	return slog.New(slog.NewTextHandler(c.a.stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// outages says in a line that the service does not answer, or does again, and nothing else.
type outages struct{ a *app }

// Enabled implements [slog.Handler].
func (outages) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle implements [slog.Handler].
func (o outages) Handle(_ context.Context, r slog.Record) error {
	if !strings.HasPrefix(r.Message, "gcsync: the service ") {
		return nil
	}
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "for", "after":
			text += " (" + a.Key + " " + a.Value.String() + ")"
		case "error":
			text += ": " + a.Value.String()
		}
		return true
	})
	o.a.say("%s", text)
	return nil
}

// WithAttrs implements [slog.Handler]; gcsync's loggers have none.
func (o outages) WithAttrs([]slog.Attr) slog.Handler { return o }

// WithGroup implements [slog.Handler].
func (o outages) WithGroup(string) slog.Handler { return o }

// farewell bounds the last requests of the program: what they would release is freed by its lease in about that time.
const farewell = 10 * time.Second

func (c *connection) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	return errors.Join(c.client.Close(ctx), c.storage.Close())
}

// answer bounds commands that only look.
const answer = 30 * time.Second

// look opens the bucket, and lets f look at it.
func (c *connection) look(ctx context.Context, a *app, t target, f func(ctx context.Context) error) error {
	if err := c.open(ctx, a, t); err != nil {
		return err
	}
	defer c.close()
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	return f(ctx)
}
