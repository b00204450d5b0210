package gcstest

import (
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

// page is one page of a listing.
type page struct {
	objects  []*object
	prefixes []string
	next     string // token of the next page
}

// listing says what to list.
type listing struct {
	prefix, delimiter string
	start, end        string // offsets: from start on, before end
	after             cursor // what the page before ended with
	limit             int
}

// list returns one page of the live objects.
func (st *store) list(c *call, _ time.Time) outcome {
	b, err := st.open(c, "storage.objects.list", false)
	if err != nil {
		return failed(err)
	}
	q, p := &c.listing, &page{}
	last := q.after // what the page ends with so far
	skip, group := last.skips()
	for _, name := range b.from(q.prefix, max(q.start, last.name)) {
		if !strings.HasPrefix(name, q.prefix) || q.end != "" && name >= q.end {
			break
		}
		if skip != "" && name == skip || group != "" && strings.HasPrefix(name, group) {
			continue
		}
		if len(p.objects)+len(p.prefixes) == q.limit {
			p.next = last.token()
			break
		}
		if g, ok := q.group(name); ok {
			group, last = g, cursor{name: g, group: true}
			p.prefixes = append(p.prefixes, g)
			continue
		}
		last = cursor{name: name}
		p.objects = append(p.objects, b.objects[name])
	}
	return outcome{page: p, retain: b.RetentionPeriod}
}

// group returns the prefix up to the first delimiter after the listed prefix,
// under which name is rolled up.
func (q *listing) group(name string) (string, bool) {
	if q.delimiter == "" {
		return "", false
	}
	i := strings.Index(name[len(q.prefix):], q.delimiter)
	if i < 0 {
		return "", false
	}
	return name[:len(q.prefix)+i+len(q.delimiter)], true
}

// cursor is a place in a listing: after an object, or after a group of objects
// that are rolled up under a prefix.
type cursor struct {
	name  string
	group bool
}

// skips returns the name and the prefix that are behind the cursor although
// they are not below its name.
func (c cursor) skips() (name, group string) {
	if c.group {
		return "", c.name
	}
	return c.name, ""
}

// token returns the page token for the cursor.
func (c cursor) token() string {
	sort := "o"
	if c.group {
		sort = "p"
	}
	return base64.URLEncoding.EncodeToString([]byte(sort + c.name))
}

// parseCursor reads a page token. None is the start of the listing.
func parseCursor(token string) (cursor, *apiError) {
	if token == "" {
		return cursor{}, nil
	}
	b, err := base64.URLEncoding.DecodeString(token)
	if err != nil || len(b) < 2 || b[0] != 'o' && b[0] != 'p' {
		return cursor{}, &apiError{http.StatusBadRequest, "invalid", "Invalid page token.", "pageToken"}
	}
	return cursor{name: string(b[1:]), group: b[0] == 'p'}, nil
}
