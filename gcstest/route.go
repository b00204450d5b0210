package gcstest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// locate reads a method and URL. It splits the path before it unescapes it, so
// that a slash in a name is not taken for one between names.
func locate(method string, u *url.URL) target {
	t := target{kind: Other}
	var err error
	if t.query, err = url.ParseQuery(u.RawQuery); err != nil {
		return t
	}
	path := u.EscapedPath()
	rest, ok := strings.CutPrefix(path, "/storage/v1/b")
	if !ok {
		rest, ok = strings.CutPrefix(path, "/download/storage/v1/b")
	}
	if !ok {
		rest, t.upload = strings.CutPrefix(path, "/upload/storage/v1/b")
		ok = t.upload
	}
	if !ok || rest != "" && rest[0] != '/' {
		t.locateXML(method, path)
		return t
	}
	t.locateJSON(method, strings.TrimPrefix(rest, "/"))
	return t
}

// locateJSON reads a path of the JSON API, without what all of them start with.
func (t *target) locateJSON(method, path string) {
	var part [3]string // a bucket, "o" and an object
	n := 0
	for seg := range strings.SplitSeq(path, "/") {
		s, err := url.PathUnescape(seg)
		if err != nil || n == len(part) {
			return
		}
		part[n] = s
		n++
	}
	t.bucket, t.name = part[0], part[2]
	switch {
	case n == 3 && part[1] == "iam" && part[2] == "testPermissions" && t.bucket != "" && method == http.MethodGet:
		t.name, t.known = "", true
	case n > 1 && (part[1] != "o" || t.bucket == ""), t.upload && n != 2:
	case n == 1:
		t.kind, t.known = bucketKind(method, t.bucket)
	case n == 2:
		t.kind, t.known = collectionKind(method, t.upload)
		if t.kind == List {
			t.name = t.query.Get("prefix")
		} else {
			t.name = t.query.Get("name")
		}
	default:
		t.kind, t.known = objectKind(method, t.query)
	}
}

// locateXML reads a path of the XML API, of which only reads are known.
func (t *target) locateXML(method, path string) {
	t.xml = true
	escBucket, escName, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	var err1, err2 error
	t.bucket, err1 = url.PathUnescape(escBucket)
	t.name, err2 = url.PathUnescape(escName)
	reads := method == http.MethodGet || method == http.MethodHead
	if reads && err1 == nil && err2 == nil && t.name != "" && t.bucket != "" {
		t.kind, t.known = Media, true
	}
}

func bucketKind(method, bucket string) (Kind, bool) {
	switch {
	case method == http.MethodGet && bucket != "":
		return BucketGet, true
	case method == http.MethodGet, method == http.MethodPost && bucket == "", method == http.MethodDelete && bucket != "":
		return Other, true
	}
	return Other, false
}

func collectionKind(method string, upload bool) (Kind, bool) {
	switch {
	case method == http.MethodPost, upload && method == http.MethodPut, upload && method == http.MethodDelete:
		return Insert, true
	case method == http.MethodGet && !upload:
		return List, true
	}
	return Other, false
}

func objectKind(method string, q url.Values) (Kind, bool) {
	switch method {
	case http.MethodGet, http.MethodHead:
		if q.Get("alt") == "media" {
			return Media, true
		}
		return Get, method == http.MethodGet
	case http.MethodPatch:
		return Patch, true
	case http.MethodPut:
		return Update, true
	case http.MethodDelete:
		return Delete, true
	}
	return Other, false
}

// origin returns the scheme and host that the caller used.
func origin(u *url.URL, host string) string {
	scheme := u.Scheme
	if scheme == "" {
		scheme = "http"
	}
	if u.Host != "" {
		host = u.Host
	}
	return scheme + "://" + host
}

// decode reads a JSON body, in which nothing at all stands for {}.
func decode(body []byte, to any) *apiError {
	if len(body) == 0 {
		return nil
	}
	if err := json.Unmarshal(body, to); err != nil {
		return fail(http.StatusBadRequest, "parseError", "Parse Error: %v", err)
	}
	return nil
}
