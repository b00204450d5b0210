// Command bench measures how a lock kept in a bucket behaves under load: how many acquisitions a second, how long a
// hand-off takes, how fair it is, and what it costs.
//
// By default it runs against a simulated service in this process, over real HTTP on the loopback interface, so that it
// needs no account and no network:
//
//	go run ./bench
//	go run ./bench -scenario contended -procs 1,8,32 -hold 10ms -duration 30s -json
//	go run ./bench -scenario crash -exec -duration 60s
//	go run ./bench -bucket gs://my-bucket -scenario contended
//
// The simulation takes 30 ms for the median request and 120 ms for the 99th percentile, and refuses more than one
// mutation a second of one object name beyond a burst of three, as the service documents it.
//
// Other locks side by side, and a report with pictures, are in the module bench/peers, which has dependencies that this
// one shall not have. This runs it:
//
//	go run ./bench report -o report.html
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"

	"github.com/gcsync/gcsync/bench/internal/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string) int {
	if len(args) > 0 && args[0] == "report" {
		return report(args)
	}
	ours := harness.Command{
		Name:  "go run ./bench",
		Locks: func(log *slog.Logger) ([]harness.Lock, error) { return harness.Ours(log), nil },
	}
	return ours.Main(ctx, args, os.Stdout, os.Stderr)
}

// report has the module of the peers make the report. An interrupt reaches it as well: it is in the same process group.
func report(args []string) int {
	dir := filepath.Join("bench", "peers")
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		fmt.Fprintln(os.Stderr, "bench: the report is made by the module bench/peers: run this in the root of the repository")
		return 2
	}
	root, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	cmd := exec.Command("go", append([]string{"run", "-C", dir, "."}, args...)...)
	cmd.Env = append(os.Environ(), "GCSYNC_BENCH_ROOT="+root) // what paths on the command line are relative to
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench: report:", err)
		return max(cmd.ProcessState.ExitCode(), 1)
	}
	return 0
}
