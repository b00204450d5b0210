package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// measureClient runs the benchmarks of the client's own work, in the module below root, and says in a sentence what they
// found.
func measureClient(ctx context.Context, root string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^Benchmark(Overhead|LocalHandOff)$", "-benchtime", "10s", ".")
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return clientSentence(string(out))
}

// clientSentence reads the output of the benchmarks.
func clientSentence(output string) (string, error) {
	overhead, handOff := metrics(output, "BenchmarkOverhead"), metrics(output, "BenchmarkLocalHandOff")
	for _, missing := range []struct {
		unit string
		of   map[string]float64
	}{{"cpu-ratio-median", overhead}, {"allocs-ratio", overhead}, {"bytes-ratio", overhead}, {"B/cycle", overhead}, {"ns/op", handOff}} {
		if _, ok := missing.of[missing.unit]; !ok {
			return "", fmt.Errorf("no %s in\n%s", missing.unit, output)
		}
	}
	return fmt.Sprintf("In the client's process, Lock and Unlock take %.2f times the CPU of the three bare requests, each with a timeout, "+
		"over HTTP,\n%.2f times their allocations and %.2f times their memory: %.0f KB. A hand-off from goroutine to goroutine and "+
		"back takes %.1f µs.", overhead["cpu-ratio-median"], overhead["allocs-ratio"], overhead["bytes-ratio"],
		overhead["B/cycle"]/1000, handOff["ns/op"]/1000), nil
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
