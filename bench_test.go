//go:build unix

package gcsync_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"cloud.google.com/go/storage"

	"github.com/gcsync/gcsync"
	"github.com/gcsync/gcsync/gcstest"
)

// The benchmarks run against a service without latency, so that what they measure is work: that of the storage client, of
// the simulated service where it is in this process, and the little that gcsync adds.
//
//	go test -run '^$' -bench . -benchmem .

// benchBucket returns a bucket of an ideal service.
func benchBucket(tb testing.TB) *storage.BucketHandle {
	tb.Helper()
	server := gcstest.New(gcstest.Model{})
	server.CreateBucket("bench", gcstest.BucketConfig{})
	client := server.Client(nil)
	tb.Cleanup(func() {
		if err := client.Close(); err != nil {
			tb.Error(err)
		}
		server.Close()
	})
	return client.Bucket("bench")
}

// benchMutex returns a mutex that was unlocked a moment ago, so that the next Lock is warm.
func benchMutex(tb testing.TB, linger time.Duration) *gcsync.Mutex {
	tb.Helper()
	return mutexIn(tb, benchBucket(tb), linger)
}

func mutexIn(tb testing.TB, bucket *storage.BucketHandle, linger time.Duration) *gcsync.Mutex {
	tb.Helper()
	client, err := gcsync.New(bucket, &gcsync.Options{Linger: linger, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := client.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	mu := client.Mutex("bench")
	lockUnlock(tb, mu)
	return mu
}

const never = -1 // linger

func lockUnlock(tb testing.TB, mu *gcsync.Mutex) {
	check(tb, mu.Lock(context.Background()))
	check(tb, mu.Unlock(context.Background()))
}

func check(tb testing.TB, err error) {
	if err != nil {
		tb.Error(err)
	}
}

// rawCalls makes the requests that a warm Lock and Unlock come down to, with the storage client alone: create an
// object, read the one before it, delete that, and look whether it is gone. Each has a timeout, as any caller must set one: the
// client has none over HTTP.
type rawCalls struct {
	bucket *storage.BucketHandle
	n      int64
	last   int64 // generation of object n
}

func newRawCalls(tb testing.TB, bucket *storage.BucketHandle) *rawCalls {
	tb.Helper()
	r := &rawCalls{bucket: bucket}
	r.create(tb)
	return r
}

func (r *rawCalls) object(n int64) *storage.ObjectHandle {
	return r.bucket.Object(fmt.Sprintf("gcsync/bench/t/%019d", n)).Retryer(storage.WithPolicy(storage.RetryNever))
}

func (r *rawCalls) create(tb testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), rawTimeout)
	defer cancel()
	w := r.object(r.n).If(storage.Conditions{DoesNotExist: true}).NewWriter(ctx)
	w.ChunkSize = 0
	w.CacheControl = "no-store"
	w.ForceEmptyContentType = true
	w.Metadata = map[string]string{ // as large as that of a ticket
		"nonce": "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "owner": "gcsync.test/12345", "host": "localhost", "kind": "mutex",
		"ttl": "30000", "claim": "10000", "prev": strconv.FormatInt(r.last, 10), "base": "1700000000000",
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	r.last = w.Attrs().Generation
}

func (r *rawCalls) cycle(tb testing.TB) {
	before, generation := r.object(r.n), r.last
	r.n++
	r.create(tb)
	reading, cancel := context.WithTimeout(context.Background(), rawTimeout)
	defer cancel()
	if _, err := before.Attrs(reading); err != nil {
		tb.Fatal(err)
	}
	deleting, cancel := context.WithTimeout(context.Background(), rawTimeout)
	defer cancel()
	if err := before.If(storage.Conditions{GenerationMatch: generation}).Delete(deleting); err != nil {
		tb.Fatal(err)
	}
	looking, cancel := context.WithTimeout(context.Background(), rawTimeout)
	defer cancel()
	if _, err := before.Attrs(looking); !errors.Is(err, storage.ErrObjectNotExist) {
		tb.Fatal(err)
	}
}

const rawTimeout = 2 * time.Second

// BenchmarkLockUnlock is a warm Lock and Unlock that nobody competes for: four requests, of which two are free. Compare [BenchmarkRawCalls].
func BenchmarkLockUnlock(b *testing.B) {
	mu := benchMutex(b, never)
	b.ReportAllocs()
	for b.Loop() {
		lockUnlock(b, mu)
	}
}

// BenchmarkRawCalls is the requests of [BenchmarkLockUnlock] made with the storage client.
func BenchmarkRawCalls(b *testing.B) {
	raw := newRawCalls(b, benchBucket(b))
	b.ReportAllocs()
	for b.Loop() {
		raw.cycle(b)
	}
}

// BenchmarkOverhead is what Lock and Unlock take of processor time and memory in relation to the raw calls, in a client
// whose service is another process, over HTTP/2 and TLS. They are measured in turns, so that whatever else the machine does
// hits both.
func BenchmarkOverhead(b *testing.B) {
	dial := serveApart(b, "ours", "theirs")
	mu, raw := mutexIn(b, dial("ours"), never), newRawCalls(b, dial("theirs"))
	const cycles = 100 // in a row: long for the clock of processor time, short for the other work of the machine to change
	var ours, theirs []cost
	for b.Loop() {
		ours = append(ours, costOf(b, cycles, func() { lockUnlock(b, mu) }))
		theirs = append(theirs, costOf(b, cycles, func() { raw.cycle(b) }))
	}
	o, t := total(ours), total(theirs)
	b.ReportMetric(0, "ns/op") // of both together: means nothing
	b.ReportMetric(o.cpu/t.cpu, "cpu-ratio")
	b.ReportMetric(medianRatio(ours, theirs), "cpu-ratio-median")
	b.ReportMetric(o.bytes/t.bytes, "bytes-ratio")
	b.ReportMetric(o.allocs/t.allocs, "allocs-ratio")
	b.ReportMetric(o.bytes/float64(cycles*len(ours)), "B/cycle")
	b.ReportMetric(o.cpu/float64(cycles*len(ours))*1e6, "cpu-µs/cycle")
}

// TestAllocationPerCycle bounds the memory that a warm Lock and Unlock take: it is the one figure of the benchmarks that
// is the same on every machine. The storage client alone would take 16 MiB for an object written with its defaults.
func TestAllocationPerCycle(t *testing.T) {
	mu, raw := benchMutex(t, never), newRawCalls(t, benchBucket(t))
	const cycles = 200
	ours := costOf(t, cycles, func() { lockUnlock(t, mu) }).bytes / cycles
	theirs := costOf(t, cycles, func() { raw.cycle(t) }).bytes / cycles
	t.Logf("%.0f bytes a cycle, %.3f of the raw calls", ours, ours/theirs)
	if ours/theirs > 1.15 {
		t.Errorf("Lock and Unlock allocate %.3f of what the raw calls do, want at most 1.15", ours/theirs)
	}
	if ours > 150_000 && theirs < 100_000 { // under the race detector everything takes more
		t.Errorf("Lock and Unlock allocate %.0f bytes, want at most 150000", ours)
	}
}

// cost is what the process spent.
type cost struct {
	cpu           float64 // seconds in user and system mode
	bytes, allocs float64
}

func costOf(tb testing.TB, n int, f func()) cost {
	before := spent(tb)
	for range n {
		f()
	}
	after := spent(tb)
	return cost{after.cpu - before.cpu, after.bytes - before.bytes, after.allocs - before.allocs}
}

func spent(tb testing.TB) cost {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		tb.Fatal(err)
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return cost{
		cpu:    time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds(),
		bytes:  float64(mem.TotalAlloc),
		allocs: float64(mem.Mallocs),
	}
}

func total(costs []cost) (sum cost) {
	for _, c := range costs {
		sum.cpu += c.cpu
		sum.bytes += c.bytes
		sum.allocs += c.allocs
	}
	return sum
}

// medianRatio is the median of the ratios of processor time, turn by turn.
func medianRatio(ours, theirs []cost) float64 {
	ratios := make([]float64, len(ours))
	for i := range ours {
		ratios[i] = ours[i].cpu / theirs[i].cpu
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

// BenchmarkLocalHandOff is a hand-off there and back between two goroutines of one client that both want the mutex all
// the time. It takes no request. Compare [BenchmarkChannelHandOff].
func BenchmarkLocalHandOff(b *testing.B) {
	mu := benchMutex(b, time.Second) // should one come late, the name is still here
	turn := func() {
		check(b, mu.Lock(context.Background()))
		check(b, mu.Unlock(context.Background()))
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				turn()
			}
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		turn()
	}
	close(stop)
	<-stopped
}

// BenchmarkChannelHandOff is the same between two goroutines that hand a token to each other by a channel.
func BenchmarkChannelHandOff(b *testing.B) {
	token := make(chan struct{})
	go func() {
		for range token {
			token <- struct{}{}
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		token <- struct{}{}
		<-token
	}
	close(token)
}

// BenchmarkTelemetry is a Lock and Unlock that take no request, with different people listening: none stands for a client
// without telemetry, unset for the global providers that nobody has set.
func BenchmarkTelemetry(b *testing.B) {
	for _, who := range listeners {
		b.Run(who.name, func(b *testing.B) {
			opts := &gcsync.Options{Linger: time.Minute, Logger: slog.New(slog.DiscardHandler)}
			who.listen(opts)
			client, err := gcsync.New(benchBucket(b), opts)
			check(b, err)
			defer func() { check(b, client.Close(context.Background())) }()
			mu := client.Mutex("bench")
			lockUnlock(b, mu)
			b.ReportAllocs()
			for b.Loop() {
				lockUnlock(b, mu)
			}
		})
	}
}
