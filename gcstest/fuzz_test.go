package gcstest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// FuzzServe sends arbitrary requests to a server that has an object and an
// unfinished upload. No request may make it panic or answer with nonsense.
func FuzzServe(f *testing.F) {
	const multipart = "multipart/related; boundary=X"
	for _, seed := range [...]struct{ method, path, query, contentType, span, body string }{
		{"GET", "/storage/v1/b/b", "", "", "", ""},
		{"GET", "/storage/v1/b/b/o/o", "alt=media", "", "bytes=1-", ""},
		{"GET", "/b/o", "generation=1", "", "bytes=-2", ""},
		{"GET", "/storage/v1/b/b/o", "prefix=o&delimiter=%2F&maxResults=1&pageToken=b28", "", "", ""},
		{"PATCH", "/storage/v1/b/b/o/o", "ifMetagenerationMatch=1", "", "", `{"metadata":{"a":null,"b":"c"},"retention":null}`},
		{"PUT", "/storage/v1/b/b/o/a%2Fb", "ifGenerationNotMatch=0", "", "", `{"temporaryHold":true}`},
		{"DELETE", "/storage/v1/b/b/o/o", "ifGenerationMatch=0", "", "", ""},
		{"POST", "/storage/v1/b", "", "", "", `{"name":"c","retentionPolicy":{"retentionPeriod":"5"}}`},
		{"POST", "/upload/storage/v1/b/b/o", "uploadType=media&name=%00", "text/plain", "", "x"},
		{"POST", "/upload/storage/v1/b/b/o", "uploadType=multipart", multipart, "", "--X\r\n\r\n{\"name\":\"p\"}\r\n--X\r\nContent-Type: a/b\r\n\r\nc\r\n--X--"},
		{"POST", "/upload/storage/v1/b/b/o", "uploadType=resumable&name=q", "application/json", "", "{}"},
		{"POST", "/upload/storage/v1/b/b/o", "uploadType=resumable&upload_id=gcstest-1", "", "bytes 0-0/1", "x"},
		{"PUT", "/upload/storage/v1/b/b/o", "uploadType=resumable&upload_id=gcstest-1", "", "bytes */*", ""},
	} {
		f.Add(seed.method, seed.path, seed.query, seed.contentType, seed.span, []byte(seed.body))
	}
	f.Fuzz(func(t *testing.T, method, path, query, contentType, span string, body []byte) {
		u, err := url.ParseRequestURI(path)
		if err != nil || u.Path == "" {
			t.Skip()
		}
		u.RawQuery = query
		s := New(Model{Rate: 1})
		s.CreateBucket("b", BucketConfig{})
		send := func(r *http.Request) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			return w
		}
		for _, prepare := range [...]string{"uploadType=media&name=o", "uploadType=resumable&name=r"} {
			w := send(httptest.NewRequest(http.MethodPost, "/upload/storage/v1/b/b/o?"+prepare, nil))
			if w.Code != http.StatusOK {
				t.Fatal(w.Code, w.Body)
			}
		}
		r := &http.Request{
			Method: method, URL: u, Host: "h", Body: http.NoBody,
			Header: http.Header{"Content-Type": {contentType}, "Range": {span}, "Content-Range": {span}},
		}
		if len(body) > 0 {
			r.Body, r.ContentLength = readCloser{bytes.NewReader(body)}, int64(len(body))
		}
		newOp(r, body)
		w := send(r)
		if http.StatusText(w.Code) == "" && w.Code != 499 {
			t.Errorf("status %d", w.Code)
		}
		if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && !json.Valid(w.Body.Bytes()) &&
			w.Header().Get("X-Goog-Generation") == "" { // content may be anything
			t.Errorf("the answer is not JSON: %q", w.Body)
		}
		sk := skew{start: time.Now(), offset: time.Hour}
		sk.rewrite(w.Body.Bytes())
		sk.rewrite(body)
		s.Close()
	})
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }
