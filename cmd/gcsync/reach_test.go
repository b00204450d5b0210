//go:build unix

package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
)

// Whatever stands between the program and the bucket: a command ends by itself, with the code for that and not with the one
// for a lock that is held, and with a line that says what it was. How long that takes is proven in virtual time, in the
// library's tests.
func TestOutOfReach(t *testing.T) {
	w := newWorld(t)
	serve := func(status int, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Metadata-Flavor", "Google")
			rw.WriteHeader(status)
			_, _ = rw.Write([]byte(body))
		}))
		t.Cleanup(s.Close)
		return strings.TrimPrefix(s.URL, "http://")
	}
	hole, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hole.Close() })
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()

	var bare []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "STORAGE_EMULATOR_HOST=") && !strings.HasPrefix(kv, "GOOGLE_APPLICATION_CREDENTIALS=") {
			bare = append(bare, kv)
		}
	}
	try := []string{"lock", "-try", "-E", "0", "gs://bbb/m", "--", "true"}
	cases := []struct {
		name, env, says string
		args            []string
	}{
		{"closed port", "STORAGE_EMULATOR_HOST=" + closed.Addr().String(), "no answer from the service", try},
		{"closed port, waiting", "STORAGE_EMULATOR_HOST=" + closed.Addr().String(), "no answer from the service", []string{"lock", "-wait", "3s", "-E", "0", "gs://bbb/m", "--", "true"}},
		{"closed port, once", "STORAGE_EMULATOR_HOST=" + closed.Addr().String(), "no answer from the service", []string{"once", "-wait", "3s", "-E", "0", "gs://bbb/m", "--", "true"}},
		{"closed port, elect", "STORAGE_EMULATOR_HOST=" + closed.Addr().String(), "no answer from the service", []string{"elect", "-wait", "3s", "-E", "0", "gs://bbb/m", "--", "true"}},
		{"closed port, sem", "STORAGE_EMULATOR_HOST=" + closed.Addr().String(), "no answer from the service", []string{"sem", "-n", "2", "-try", "-E", "0", "gs://bbb/m", "--", "true"}},
		{"closed port, lease", "STORAGE_EMULATOR_HOST=" + closed.Addr().String(), "no answer from the service", []string{"lease", "-E", "0", "gs://bbb/m", "--", "true"}},
		{"closed port, ls", "STORAGE_EMULATOR_HOST=" + closed.Addr().String(), "no answer from the service", []string{"ls", "gs://bbb/"}},
		{"closed port, show", "STORAGE_EMULATOR_HOST=" + closed.Addr().String(), "no answer from the service", []string{"show", "gs://bbb/m"}},
		{"black hole", "STORAGE_EMULATOR_HOST=" + hole.Addr().String(), "no answer from the service", try},
		{"broken service", "STORAGE_EMULATOR_HOST=" + serve(500, "oops"), "no answer from the service", try},
		{"proxy", "STORAGE_EMULATOR_HOST=" + serve(404, "<html><body>Not Found</body></html>"), "not the service's", try},
		{"no token", "GCE_METADATA_HOST=" + serve(404, ""), "no token to authenticate with", try},
		{"no token yet", "GCE_METADATA_HOST=" + serve(500, ""), "no answer from the service", try},
		{"token forbidden", "GCE_METADATA_HOST=" + serve(403, ""), "no token to authenticate with", try},
		{"wrong bucket", "STORAGE_EMULATOR_HOST=" + w.url, "bucket not found", slices.Replace(slices.Clone(try), 4, 5, "gs://elsewhere/m")},
	}
	started := make([]*proc, len(cases)) // all at once: each takes some seconds, and does nothing in them
	for i, c := range cases {
		cmd := w.command(c.args...)
		cmd.Env = append(slices.Clone(bare), envMain+"=1", c.env)
		started[i] = w.launch(cmd)
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			code, text := started[i].wait(), started[i].stderr.String()
			if code != exitService || !strings.Contains(text, c.says) {
				t.Errorf("exit code %d: %s", code, text)
			}
			if lines := strings.Count(text, "\n"); lines != 1 && !slices.Contains(c.args, "-wait") {
				t.Errorf("%d lines:\n%s", lines, text)
			}
		})
	}
}
