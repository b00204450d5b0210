// Package gcstest simulates Google Cloud Storage for tests of code that depends
// on its preconditions, its limits and its failures.
//
// A [Server] speaks the part of the JSON API that the Go client uses for
// objects, and takes every precondition seriously: generations are unique,
// metagenerations start at 1 with each of them, and exactly one of several
// conditional writers wins. Its [Model] adds what makes the real service
// hard to work with: latency with a long tail, and the limit on the rate at
// which one object can be changed.
//
// [Faults] stand between one simulated machine and the service. They lose
// answers to requests that were carried out, deliver requests twice or long
// after their callers gave up, cut the machine off, stop and crash it, and set
// its clock wrong.
//
// # Virtual time
//
// A client from [Server.Client] uses no sockets, so that a test can run in a
// testing/synctest bubble, in which hours of leases, timeouts and backoff take
// milliseconds. Make the server, the faults and the client inside the bubble,
// and close them before it ends:
//
//	synctest.Test(t, func(t *testing.T) {
//		server := gcstest.New(gcstest.Model{Median: 30 * time.Millisecond, P99: 120 * time.Millisecond, Rate: 1})
//		defer server.Close()
//		server.CreateBucket("bucket", gcstest.BucketConfig{})
//
//		faults := gcstest.NewFaults(1)
//		defer faults.Close()
//		client := server.Client(faults)
//		...
//	})
//
// # Real time
//
// [Server.Listen] serves on a port, for benchmarks and for other processes,
// which find it through the environment variable STORAGE_EMULATOR_HOST set to
// [Listener.URL].
//
// # Requests are not undone
//
// A request that has been sent is carried out, whatever happens to its caller's
// context. That is how the real service behaves, and the reason why a caller
// that gave up must expect its write to appear later. [Server.Close] and
// [Faults.Close] wait for such requests.
//
// # What is not simulated
//
// There are no versions but the live one, no soft-deleted objects, no lifecycle
// rules, access control lists, copies, compositions, notifications or
// encryption keys, and no gRPC. A request that needs one of these is answered
// with status 501 rather than wrongly, except that access control lists and
// encryption in the body of a request are ignored. Everything is kept in memory.
//
// Package conformance, below this one, has the suite of tests that holds this
// simulation and the real service to the same behaviour.
package gcstest
