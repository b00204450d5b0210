package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/gcsync/gcsync/gcstest"
)

var emulatorCommand = &command{
	name:  "emulator",
	about: "Serves a bucket in memory, for development and for trying things out.",
	help: `
It behaves like Cloud Storage in all that gcsync relies on, and forgets everything when it ends. Anybody who can reach
the address can use it.

  gcsync emulator &
  export STORAGE_EMULATOR_HOST=http://127.0.0.1:4443
  gcsync lock gs://test/x -- echo inside`,
	setup: func(f *flag.FlagSet) action {
		addr := f.String("addr", "127.0.0.1:4443", "`address` to listen on; port 0: any")
		buckets := f.String("buckets", "test", "`names` of the buckets, separated by commas")
		var m gcstest.Model
		durationVar(f, &m.Median, "median", 0, "median time of a request (a real bucket: 30ms)")
		durationVar(f, &m.P99, "p99", 0, "99th percentile of that time (a real bucket: 120ms)")
		f.Float64Var(&m.Rate, "rate", 0, "changes per second of one object that it takes; 0: any number (a real bucket: 1)")
		return func(_ context.Context, a *app, _, _ []string) error {
			if m.Median < 0 || m.P99 < 0 || m.Rate < 0 {
				return usagef("-median, -p99 and -rate must not be negative")
			}
			m.Burst, m.Seed = 3, uint64(time.Now().UnixNano())
			server := gcstest.New(m)
			defer server.Close()
			for name := range strings.SplitSeq(*buckets, ",") {
				if !bucketName.MatchString(name) {
					return usagef("%.60q can be no bucket's name", name)
				}
				server.CreateBucket(name, gcstest.BucketConfig{PreventPublic: true, UniformAccess: true})
			}
			listener, err := server.Listen(*addr)
			if err != nil {
				return &failure{exitService, err}
			}
			defer listener.Close()
			if err := write(a.stdout, fmt.Sprintf("export STORAGE_EMULATOR_HOST=%s\n", listener.URL())); err != nil {
				return err
			}
			signals := make(chan os.Signal, 1)
			signal.Notify(signals, forwarded[:2]...)
			<-signals
			return nil
		}
	},
}
