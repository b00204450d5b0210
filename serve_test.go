package gcsync_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"cloud.google.com/go/storage"
	"google.golang.org/api/option"

	"github.com/gcsync/gcsync/gcstest"
)

// serveEnv is the environment variable that makes this program a service with the buckets that it names.
const serveEnv = "GCSYNC_TEST_SERVE"

// serve is such a service, without latency and limits, over HTTP/2 and TLS like the real one, until its standard input ends.
func serve(buckets string) error {
	server := gcstest.New(gcstest.Model{})
	defer server.Close()
	for name := range strings.SplitSeq(buckets, ",") {
		server.CreateBucket(name, gcstest.BucketConfig{})
	}
	listener := httptest.NewUnstartedServer(server)
	listener.EnableHTTP2 = true
	listener.StartTLS()
	defer listener.Close()
	fmt.Println(listener.URL)
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// serveApart starts a service in a process of its own, and returns how to get a bucket there on connections of its own.
func serveApart(tb testing.TB, buckets ...string) (dial func(bucket string) *storage.BucketHandle) {
	tb.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serveEnv+"="+strings.Join(buckets, ","))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			tb.Error(err)
		}
	})
	var url string
	if _, err := fmt.Fscanln(stdout, &url); err != nil {
		tb.Fatal(err)
	}
	return func(bucket string) *storage.BucketHandle {
		transport := &http.Transport{
			ForceAttemptHTTP2: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // who answers is the process that we have just started
		}
		client, err := storage.NewClient(context.Background(), option.WithEndpoint(url+"/storage/v1/"),
			option.WithoutAuthentication(), option.WithHTTPClient(&http.Client{Transport: transport}))
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() {
			transport.CloseIdleConnections()
			if err := client.Close(); err != nil {
				tb.Error(err)
			}
		})
		return client.Bucket(bucket)
	}
}
