// Package torture tests gcsync with real processes, on the clocks, signals and sockets of a real machine: what a
// simulation must leave to its model.
//
// The parent, the test, serves a bucket on the loopback interface and starts processes that take turns on a mutex to
// append to one object. It kills them, stops them for longer than their leases, and cuts them off; each reaches the
// service through a proxy of its own in the parent. What a process was told of each update it writes to a pipe, from
// which even a killed one's last words can be read. In the end the parent compares.
//
// It takes its time, so it runs only where GCSYNC_TORTURE says for how long:
//
//	GCSYNC_TORTURE=60s go test -v ./internal/torture
package torture
