// Command tracing shows what gcsync tells OpenTelemetry: two clients want one lock, one gets it from the other, and the
// trace says so. The bucket is in memory, and the exporter prints: no account and no collector is needed.
//
//	go run .          # a picture
//	go run . -json    # the spans in full, as the exporter of OpenTelemetry prints them
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"sync"
	"time"

	"cloud.google.com/go/storage"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/gcstest"
)

func main() {
	full := flag.Bool("json", false, "print the spans in full")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *full); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, w io.Writer, full bool) error {
	var exporter sdktrace.SpanExporter = &picture{w: w}
	if full {
		var err error
		if exporter, err = stdouttrace.New(stdouttrace.WithWriter(w), stdouttrace.WithPrettyPrint()); err != nil {
			return err
		}
	}

	srv := gcstest.New(gcstest.Model{Median: 30 * time.Millisecond, P99: 120 * time.Millisecond, Rate: 1, Burst: 3})
	defer srv.Close()
	srv.CreateBucket("my-bucket", gcstest.BucketConfig{})

	// Two services, each with its own client and its own tracing, as on two machines.
	spans := sdktrace.NewBatchSpanProcessor(exporter)
	alice, err := start(ctx, "alice", srv, spans)
	if err != nil {
		return err
	}
	bob, err := start(ctx, "bob", srv, spans)
	if err != nil {
		return err
	}

	var both sync.WaitGroup
	both.Go(func() { err = alice.rebuild(ctx, 500*time.Millisecond) })
	time.Sleep(300 * time.Millisecond) // alice is first
	if err := bob.rebuild(ctx, 100*time.Millisecond); err != nil {
		return err
	}
	both.Wait()
	if err != nil {
		return err
	}
	for _, s := range []*service{alice, bob} {
		if err := s.stop(ctx); err != nil {
			return err
		}
	}
	return spans.Shutdown(ctx)
}

// service is one program of the fleet.
type service struct {
	storage *storage.Client
	locks   *gcsync.Client
	traces  *sdktrace.TracerProvider
}

func start(ctx context.Context, name string, srv *gcstest.Server, spans sdktrace.SpanProcessor) (*service, error) {
	s := &service{storage: srv.Client(nil)} // storage.NewClient(ctx), elsewhere
	s.traces = sdktrace.NewTracerProvider(
		sdktrace.WithResource(resource.NewSchemaless(semconv.ServiceName(name))),
		sdktrace.WithSpanProcessor(spans),
	)
	var err error
	s.locks, err = gcsync.New(s.storage.Bucket("my-bucket"), &gcsync.Options{
		Owner:          name,
		TracerProvider: s.traces, // or otel.SetTracerProvider, once for the program
		Class:          "jobs",
	})
	return s, err
}

// rebuild is what the lock is for: a job that must not run twice at the same time.
func (s *service) rebuild(ctx context.Context, work time.Duration) error {
	tracer := s.traces.Tracer("example")
	ctx, job := tracer.Start(ctx, "job")
	defer job.End()
	return s.locks.Mutex("jobs/rebuild").Do(ctx, func(ctx context.Context) error {
		_, working := tracer.Start(ctx, "rebuild") // below gcsync.hold
		defer working.End()
		time.Sleep(work)
		return nil
	})
}

func (s *service) stop(ctx context.Context) error {
	if err := s.locks.Close(ctx); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return s.storage.Close()
}
