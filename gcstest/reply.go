package gcstest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// reply is an answer on its way to the caller.
type reply struct {
	status int
	header http.Header
	body   []byte
	length int       // of the body that was asked about, which HEAD does not send
	at     time.Time // when the service decided
}

// render turns what came of a call into an answer. It runs without a lock.
func (c *call) render(out *outcome, at time.Time) *reply {
	r := &reply{status: out.status(c), header: make(http.Header, 12), at: at}
	r.header["Date"] = []string{at.UTC().Format(http.TimeFormat)}
	switch {
	case out.err != nil:
		c.renderError(r, out.err)
	case out.upload != nil:
		out.upload.into(r.header)
	case c.empty:
	case out.object != nil && c.kind == Media:
		renderMedia(r, out.object, c.span)
	case out.object != nil:
		r.json(out.object.answer(c.bucket, out.retain))
		r.header["Etag"] = []string{out.object.etag()}
	case out.page != nil:
		r.json(out.page.answer(c.bucket, out.retain))
	case out.bucket != nil:
		r.json(out.bucket.answer())
	case out.permissions != nil:
		r.json(map[string]any{"kind": "storage#testIamPermissionsResponse", "permissions": out.permissions})
	default:
		r.json(bucketsAnswer(out.list))
	}
	r.length = len(r.body)
	if c.head {
		r.body = nil
	}
	return r
}

func (c *call) renderError(r *reply, err *apiError) {
	switch {
	case err.status == http.StatusNotModified: // has no body
	case c.xml:
		r.header["Content-Type"] = []string{"application/xml; charset=UTF-8"}
		r.body = err.xml()
	default:
		r.header["Content-Type"] = []string{"application/json; charset=UTF-8"}
		r.body = err.json()
	}
}

func (r *reply) json(v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // the types of this package always marshal
	}
	r.header["Content-Type"] = []string{"application/json; charset=UTF-8"}
	r.body = body
}

// renderMedia answers with the content of an object, and with what the service
// says about it in the header.
func renderMedia(r *reply, o *object, s *span) {
	h := r.header
	h.Set("Content-Type", o.ContentType)
	h.Set("Etag", o.etag())
	h.Set("Last-Modified", o.updated.UTC().Format(http.TimeFormat))
	h.Set("X-Goog-Generation", strconv.FormatInt(o.generation, 10))
	h.Set("X-Goog-Metageneration", strconv.FormatInt(o.metageneration, 10))
	h.Set("X-Goog-Storage-Class", o.storageClass)
	h.Set("X-Goog-Hash", "crc32c="+o.crc32c)
	h.Add("X-Goog-Hash", "md5="+o.md5)
	h.Set("X-Goog-Stored-Content-Length", strconv.Itoa(len(o.data)))
	h.Set("X-Goog-Stored-Content-Encoding", "identity")
	for key, value := range map[string]string{
		"Cache-Control": o.CacheControl, "Content-Encoding": o.ContentEncoding,
		"Content-Disposition": o.ContentDisposition, "Content-Language": o.ContentLanguage,
	} {
		if value != "" {
			h.Set(key, value)
		}
	}
	for key, value := range o.Metadata {
		h.Set("X-Goog-Meta-"+key, value)
	}
	r.body = o.data
	if s != nil {
		h.Set("Content-Range", s.contentRange(len(o.data)))
		r.body = o.data[s.from:s.to]
	}
}

func (p *page) answer(bucket string, retain time.Duration) any {
	a := struct {
		Kind     string    `json:"kind"`
		Next     string    `json:"nextPageToken,omitempty"`
		Prefixes []string  `json:"prefixes,omitempty"`
		Items    []*answer `json:"items,omitempty"`
	}{Kind: "storage#objects", Next: p.next, Prefixes: p.prefixes}
	for _, o := range p.objects {
		a.Items = append(a.Items, o.answer(bucket, retain))
	}
	return a
}

func bucketsAnswer(list []*bucket) any {
	a := struct {
		Kind  string        `json:"kind"`
		Items []*bucketJSON `json:"items,omitempty"`
	}{Kind: "storage#buckets"}
	for _, b := range list {
		a.Items = append(a.Items, b.answer())
	}
	return a
}

// writeTo sends the answer over a real connection.
func (r *reply) writeTo(w http.ResponseWriter) {
	h := w.Header()
	for key, values := range r.header {
		h[key] = values
	}
	if r.status != http.StatusNoContent && r.status != http.StatusNotModified {
		h["Content-Length"] = []string{strconv.Itoa(r.length)}
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body) // the caller may be gone, which is its own affair
}
