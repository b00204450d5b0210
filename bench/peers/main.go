// Command peers measures gcsync side by side with other locks: the same scenarios, the same service, the same run.
//
//	go run -C bench/peers . -scenario contended
//	go run ./bench report -o report.html
//
// It is a module of its own, so that what it needs is nothing that gcsync depends on.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"

	"github.com/gcsync/gcsync/bench/internal/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:])
	stop()
	if err := stopEtcd(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	os.Exit(code)
}

func run(ctx context.Context, args []string) int {
	if len(args) > 0 && args[0] == "report" {
		return makeReport(ctx, args[1:], os.Stderr)
	}
	all := harness.Command{Name: "go run -C bench/peers .", Locks: locks, All: true}
	return all.Main(ctx, args, os.Stdout, os.Stderr)
}

func locks(log *slog.Logger) ([]harness.Lock, error) {
	return append(harness.Ours(log), asGmutex{}, asGcslock{}, createDelete{}, asPython{}, etcd{}), nil
}
