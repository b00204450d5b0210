package gcstest

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// sessions are the resumable uploads by their id.
type sessions struct {
	byID map[string]*session
	last int
	done []string // finished, oldest first
}

// maxDone bounds the finished sessions that are remembered for callers that
// have lost the answer to their last request.
const maxDone = 256

// session is a resumable upload.
type session struct {
	start  *call
	data   []byte
	result *outcome // once finished
}

// progress is the answer to a part of a resumable upload.
type progress struct {
	location string // where to send the content, for the first request
	received int
	quiet308 bool // the caller wants 200 and a header in place of status 308
}

// chunk is a part of the content of a resumable upload.
type chunk struct {
	id       string
	offset   int // of the part, -1 for a part without content
	total    int // of the content, -1 while the caller does not say
	crc32c   string
	cancel   bool
	quiet308 bool
}

// chunkUnit is what the size of every part but the last must be a multiple of.
const chunkUnit = 256 << 10

// parseChunk reads a request of an upload that has begun.
func (c *call) parseChunk(method string, q url.Values, header http.Header, body []byte) *apiError {
	ch := &chunk{
		id: q.Get("upload_id"), offset: -1, total: -1, crc32c: headerCRC(header),
		cancel: method == http.MethodDelete, quiet308: header.Get("X-GUploader-No-308") == "yes",
	}
	c.chunk, c.data, c.run = ch, body, (*store).continueUpload
	if ch.cancel {
		return nil
	}
	spec := header.Get("Content-Range")
	if spec == "" {
		ch.offset, ch.total = 0, len(body)
		return nil
	}
	malformed := invalid("Failed to parse Content-Range header: %q", spec)
	span, total, ok := strings.Cut(strings.TrimPrefix(spec, "bytes "), "/")
	if !ok {
		return malformed
	}
	var err error
	if total != "*" {
		if ch.total, err = strconv.Atoi(total); err != nil || ch.total < 0 {
			return malformed
		}
	}
	if span == "*" {
		return nil
	}
	from, to, ok := strings.Cut(span, "-")
	first, err1 := strconv.Atoi(from)
	last, err2 := strconv.Atoi(to)
	switch {
	case !ok, err1 != nil, err2 != nil, first < 0, last-first+1 != len(body), ch.total >= 0 && last >= ch.total:
		return malformed
	case ch.total < 0 && len(body)%chunkUnit != 0:
		return invalid("The size of a part must be a multiple of %d bytes.", chunkUnit)
	}
	ch.offset = first
	return nil
}

// startUpload begins a resumable upload.
func (st *store) startUpload(c *call, now time.Time) outcome {
	if _, _, err := st.mayInsert(c, now); err != nil {
		return failed(err)
	}
	s := &st.sessions
	if s.byID == nil {
		s.byID = make(map[string]*session)
	}
	s.last++
	id := "gcstest-" + strconv.Itoa(s.last)
	s.byID[id] = &session{start: c}
	q := url.Values{"uploadType": {"resumable"}, "name": {c.name}, "upload_id": {id}}
	location := c.base + "/upload/storage/v1/b/" + url.PathEscape(c.bucket) + "/o?" + q.Encode()
	return outcome{upload: &progress{location: location}}
}

// continueUpload takes a part of the content, and makes the object of all parts
// after the last one.
func (st *store) continueUpload(c *call, now time.Time) outcome {
	s := st.sessions.byID[c.chunk.id]
	switch {
	case s == nil:
		return failed(fail(http.StatusNotFound, "notFound", "The upload session does not exist."))
	case s.result != nil:
		return *s.result // as the service repeats it for a caller that lost the answer
	case c.chunk.cancel:
		delete(st.sessions.byID, c.chunk.id)
		return failed(fail(499, "cancelled", "The upload was cancelled."))
	}
	c.bucket, c.name, c.conds = s.start.bucket, s.start.name, s.start.conds
	if ch := c.chunk; ch.offset >= 0 {
		if ch.offset > len(s.data) {
			return failed(fail(http.StatusServiceUnavailable, "backendError", "The part does not follow the last one."))
		}
		if fresh := len(s.data) - ch.offset; fresh < len(c.data) {
			s.data = append(s.data, c.data[fresh:]...)
		}
	}
	if c.chunk.total < 0 || len(s.data) < c.chunk.total {
		return outcome{upload: &progress{received: len(s.data), quiet308: c.chunk.quiet308}}
	}
	return st.finishUpload(c, s, now)
}

func (st *store) finishUpload(c *call, s *session, now time.Time) outcome {
	whole := *s.start
	whole.data = s.data
	if err := whole.checkContent(c.chunk.crc32c); err != nil {
		return failed(err)
	}
	out := st.insert(&whole, now)
	if out.err != nil {
		return out
	}
	*s = session{result: &out}
	st.sessions.done = append(st.sessions.done, c.chunk.id)
	if len(st.sessions.done) > maxDone {
		delete(st.sessions.byID, st.sessions.done[0])
		st.sessions.done = st.sessions.done[1:]
	}
	return out
}

// into writes how far the upload is into the header of an answer.
func (p *progress) into(h http.Header) {
	switch {
	case p.location != "":
		h.Set("Location", p.location)
		return
	case p.quiet308:
		h.Set("X-Http-Status-Code-Override", "308")
	}
	if p.received > 0 {
		h.Set("Range", "bytes=0-"+strconv.Itoa(p.received-1))
	}
}

// status returns the status that says the same.
func (p *progress) status() int {
	if p.location != "" || p.quiet308 {
		return http.StatusOK
	}
	return http.StatusPermanentRedirect
}
