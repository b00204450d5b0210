package gcstest

import (
	"net/http"
	"net/url"
	"time"
)

// call is a request as the service understands it.
type call struct {
	target
	run  func(*store, *call, time.Time) outcome
	head bool // only the header of the answer is wanted

	generation int64 // the one addressed, -1 for the live one
	conds      conditions

	// empty says that success has no body.
	empty bool

	// Of uploads and updates.
	resource          resource
	patch             patch
	overrideRetention bool
	data              []byte
	crc32c, md5       string
	chunk             *chunk
	base              string // scheme and host under which the caller knows the server

	listing listing
	span    *span
	config  BucketConfig
}

// target is what a request's method and URL say about it.
type target struct {
	kind   Kind
	bucket string
	name   string // of the object
	upload bool   // under the path for uploads
	xml    bool   // under the path of the XML API, which answers differently
	known  bool   // the server knows what to do with it
	query  url.Values
}

// parse reads a request. What is wrong with it becomes a call that fails.
func parse(method string, u *url.URL, host string, header http.Header, body []byte) *call {
	c := &call{target: locate(method, u), generation: -1, conds: unconditional}
	if err := c.parse(method, u, host, header, body); err != nil {
		c.run = func(*store, *call, time.Time) outcome { return failed(err) }
	}
	return c
}

func (c *call) parse(method string, u *url.URL, host string, header http.Header, body []byte) *apiError {
	q := c.query
	if !c.known {
		return unsupported(method + " " + u.EscapedPath())
	}
	var err *apiError
	if c.xml {
		c.conds, err = parseHeaderConditions(header)
	} else {
		c.conds, err = parseConditions(q)
	}
	if err != nil {
		return err
	}
	if c.generation, err = number(q, "generation"); err != nil {
		return err
	}
	switch c.kind {
	case Insert:
		c.base = origin(u, host)
		return c.parseUpload(method, q, header, body)
	case List:
		c.run = (*store).list
		return c.parseListing(q)
	case BucketGet:
		c.run = (*store).getBucket
		return nil
	case Other:
		return c.parseAdmin(method, body)
	}
	return c.parseObject(method, q, header, body)
}

// parseObject reads a request to an existing object.
func (c *call) parseObject(method string, q url.Values, header http.Header, body []byte) *apiError {
	if err := checkName(c.name); err != nil {
		return err
	}
	if err := unsupportedFlags(q, "softDeleted"); err != nil {
		return err
	}
	switch c.kind {
	case Get:
		c.run = (*store).get
	case Media:
		c.run, c.head = (*store).get, method == http.MethodHead
		c.span = parseSpan(header.Get("Range"))
	case Delete:
		c.run, c.empty = (*store).remove, true
	case Patch:
		c.run = (*store).change
		c.overrideRetention = q.Get("overrideUnlockedRetention") == "true"
		return decode(body, &c.patch)
	case Update:
		c.run = (*store).change
		c.overrideRetention = q.Get("overrideUnlockedRetention") == "true"
		return decode(body, &c.resource)
	}
	return nil
}

// parseAdmin reads a request to create, list or delete buckets.
func (c *call) parseAdmin(method string, body []byte) *apiError {
	switch {
	case method == http.MethodPost:
		var j bucketJSON
		if err := decode(body, &j); err != nil {
			return err
		}
		if j.Name == "" {
			return required("name")
		}
		c.bucket, c.config, c.run = j.Name, j.config(), (*store).createBucket
	case c.bucket == "":
		c.run = (*store).listBuckets
	case method == http.MethodGet:
		c.run = (*store).testPermissions
	default:
		c.run, c.empty = (*store).deleteBucket, true
	}
	return nil
}

const maxPage = 1000

// parseListing reads the parameters of a listing.
func (c *call) parseListing(q url.Values) *apiError {
	if err := unsupportedFlags(q, "versions", "softDeleted", "includeTrailingDelimiter", "includeFoldersAsPrefixes"); err != nil {
		return err
	}
	for _, key := range [...]string{"matchGlob", "filter"} {
		if q.Get(key) != "" {
			return unsupported(key)
		}
	}
	limit, err := number(q, "maxResults")
	if err != nil {
		return err
	}
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	c.name = q.Get("prefix")
	c.listing = listing{
		prefix: c.name, delimiter: q.Get("delimiter"),
		start: q.Get("startOffset"), end: q.Get("endOffset"), limit: int(limit),
	}
	c.listing.after, err = parseCursor(q.Get("pageToken"))
	return err
}

// unsupportedFlags refuses a request that sets one of the flags.
func unsupportedFlags(q url.Values, keys ...string) *apiError {
	for _, key := range keys {
		if v := q.Get(key); v != "" && v != "false" {
			return unsupported(key)
		}
	}
	return nil
}
