package gcstest

import (
	"bytes"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// parseUpload reads a request to create or overwrite an object.
func (c *call) parseUpload(method string, q url.Values, header http.Header, body []byte) *apiError {
	how := q.Get("uploadType")
	if how == "resumable" && q.Has("upload_id") {
		return c.parseChunk(method, q, header, body)
	}
	if method != http.MethodPost {
		return unsupported(method + " of an upload")
	}
	c.run = (*store).insert
	switch {
	case !c.upload:
		if err := decode(body, &c.resource); err != nil {
			return err
		}
	case how == "media":
		c.data, c.resource.ContentType = body, header.Get("Content-Type")
	case how == "multipart":
		meta, data, contentType, err := splitMultipart(header.Get("Content-Type"), body)
		if err != nil {
			return err
		}
		if err := decode(meta, &c.resource); err != nil {
			return err
		}
		c.data = data
		if c.resource.ContentType == "" {
			c.resource.ContentType = contentType
		}
	case how == "resumable":
		if err := decode(body, &c.resource); err != nil {
			return err
		}
		if c.resource.ContentType == "" {
			c.resource.ContentType = header.Get("X-Upload-Content-Type")
		}
		c.run = (*store).startUpload
	default:
		return &apiError{http.StatusBadRequest, "invalid", "Invalid upload type: " + how, "uploadType"}
	}
	if c.name == "" {
		c.name = c.resource.Name
	}
	if err := checkName(c.name); err != nil {
		return err
	}
	if err := c.resource.check(); err != nil {
		return err
	}
	if how == "resumable" {
		return nil
	}
	return c.checkContent(headerCRC(header))
}

// headerCRC returns the checksum that the request's header states, if any.
func headerCRC(h http.Header) string {
	for _, v := range h.Values("X-Goog-Hash") {
		for part := range strings.SplitSeq(v, ",") {
			if crc, ok := strings.CutPrefix(strings.TrimSpace(part), "crc32c="); ok {
				return crc
			}
		}
	}
	return ""
}

// checkContent computes the hashes of the content and compares them with those
// that the caller computed.
func (c *call) checkContent(headerCRC string) *apiError {
	c.crc32c, c.md5 = checksums(c.data)
	for _, want := range [...]string{headerCRC, c.resource.CRC32C} {
		if want != "" && want != c.crc32c {
			return invalid("Provided CRC32C %q doesn't match calculated CRC32C %q.", want, c.crc32c)
		}
	}
	if want := c.resource.MD5; want != "" && want != c.md5 {
		return invalid("Provided MD5 hash %q doesn't match calculated MD5 hash %q.", want, c.md5)
	}
	return nil
}

// splitMultipart takes apart a body of metadata and content. It works on the
// body in place, where the multipart package would copy it.
func splitMultipart(contentType string, body []byte) (meta, data []byte, dataType string, bad *apiError) {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || media != "multipart/related" || params["boundary"] == "" {
		return nil, nil, "", malformedMultipart()
	}
	dash := []byte("\r\n--" + params["boundary"])
	// The first boundary stands at the start of the body or of a line.
	rest, ok := bytes.CutPrefix(body, dash[2:])
	if !ok {
		if _, rest, ok = bytes.Cut(body, dash); !ok {
			return nil, nil, "", malformedMultipart()
		}
	}
	var parts [2][]byte
	for i := range parts {
		eol := bytes.Index(rest, []byte("\r\n"))
		if eol < 0 {
			return nil, nil, "", malformedMultipart()
		}
		// The line break stays: a part without headers is one and an empty line.
		if parts[i], rest, ok = bytes.Cut(rest[eol:], dash); !ok {
			return nil, nil, "", malformedMultipart()
		}
	}
	if !bytes.HasPrefix(rest, []byte("--")) {
		return nil, nil, "", malformedMultipart()
	}
	_, meta, ok = bytes.Cut(parts[0], []byte("\r\n\r\n"))
	head, data, ok2 := bytes.Cut(parts[1], []byte("\r\n\r\n"))
	if !ok || !ok2 {
		return nil, nil, "", malformedMultipart()
	}
	return meta, data, partType(head), nil
}

func malformedMultipart() *apiError {
	return invalid("Failed to parse Content-Type header or multipart body.")
}

// partType finds the content type in the header of a part.
func partType(head []byte) string {
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		key, value, ok := bytes.Cut(line, []byte(":"))
		if ok && strings.EqualFold(string(bytes.TrimSpace(key)), "Content-Type") {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}
