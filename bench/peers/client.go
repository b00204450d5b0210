package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// clientWork is what Lock and Unlock take in the client, in relation to the bare requests, and by themselves.
type clientWork struct {
	CPU, Allocations, Memory float64
	Bytes                    float64 // of a Lock and an Unlock
	HandOff                  float64 // nanoseconds, from goroutine to goroutine and back
}

func (w *clientWork) String() string {
	if w == nil {
		return ""
	}
	return fmt.Sprintf("In the client's process, Lock and Unlock take %.2f times the CPU of the four bare requests, each with a timeout, "+
		"over HTTP/2\nand TLS, %.2f times their allocations and %.2f times their memory: %.0f KB. A hand-off from goroutine to "+
		"goroutine and back\ntakes %.1f µs.", w.CPU, w.Allocations, w.Memory, w.Bytes/1000, w.HandOff/1000)
}

// measureClient runs the benchmarks of the client's own work, in the module below root.
func measureClient(ctx context.Context, root string) (*clientWork, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^Benchmark(Overhead|LocalHandOff)$", "-benchtime", "30s", ".")
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	return readClientWork(string(out))
}

// readClientWork reads the output of the benchmarks.
func readClientWork(output string) (*clientWork, error) {
	overhead, handOff := metrics(output, "BenchmarkOverhead"), metrics(output, "BenchmarkLocalHandOff")
	w := new(clientWork)
	for _, x := range []struct {
		to   *float64
		of   map[string]float64
		unit string
	}{
		{&w.CPU, overhead, "cpu-ratio-median"}, {&w.Allocations, overhead, "allocs-ratio"}, {&w.Memory, overhead, "bytes-ratio"},
		{&w.Bytes, overhead, "B/cycle"}, {&w.HandOff, handOff, "ns/op"},
	} {
		var ok bool
		if *x.to, ok = x.of[x.unit]; !ok {
			return nil, fmt.Errorf("no %s in\n%s", x.unit, output)
		}
	}
	return w, nil
}

// metrics returns what a benchmark has reported, by unit.
func metrics(output, benchmark string) map[string]float64 {
	found := make(map[string]float64)
	for line := range strings.Lines(output) {
		fields := strings.Fields(line)
		if len(fields) == 0 || !strings.HasPrefix(fields[0], benchmark) {
			continue
		}
		for i := 2; i+1 < len(fields); i += 2 {
			if x, err := strconv.ParseFloat(fields[i], 64); err == nil {
				found[fields[i+1]] = x
			}
		}
	}
	return found
}
