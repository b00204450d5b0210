package fence_test

import (
	"net/http"
	"strings"
	"testing"

	"cloud.google.com/go/storage"
	"google.golang.org/api/option"

	"github.com/gcsync/gcsync/fence"
	"github.com/gcsync/gcsync/gcstest"
)

// staleCache answers reads of content with what it was before.
type staleCache struct{ http.RoundTripper }

func (c staleCache) RoundTrip(r *http.Request) (*http.Response, error) {
	rep, err := c.RoundTripper.RoundTrip(r)
	if err == nil && rep.Header.Get("X-Goog-Generation") != "" {
		rep.Header.Set("X-Goog-Generation", "1")
	}
	return rep, err
}

// The content of public objects may come from a cache. What comes from there must not be taken for what was sealed.
func TestReadFromCache(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(w *world) {
		o, err := storage.NewClient(w.Context(), option.WithoutAuthentication(), option.WithEndpoint("http://gcs.invalid/storage/v1/"),
			option.WithHTTPClient(&http.Client{Transport: staleCache{w.server.Transport()}}))
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := fence.Seal(w.Context(), o.Bucket("b"), name, 7, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sealed.Read(w.Context()); err == nil || !strings.Contains(err.Error(), "cache") {
			t.Errorf("error %v, want one about the cache", err)
		}
	})
}
