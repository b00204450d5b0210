// Package object is the only code of gcsync that talks to Cloud Storage.
//
// It offers versioned create, get, patch, delete and list on one bucket. Every call makes exactly one attempt, bounded
// by a timeout of its own, and ends in one of the outcomes of [Outcome]: the storage client's retries are off, because
// a retry that the caller cannot see turns a write that was applied into a write that was refused. Only a listing, which
// writes nothing, may be retried by the client within its timeout: a bucket handle has no retry settings of its own that
// could be changed without changing the caller's.
package object

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"

	"github.com/gcsync/gcsync/internal/clock"
	"github.com/gcsync/gcsync/internal/telemetry"
)

const (
	opCreate = "create"
	opGet    = "get"
	opPatch  = "patch"
	opDelete = "delete"
	opList   = "list"
)

// Version is one state of one object. The metageneration means nothing without the generation, so the two travel
// together [Request preconditions].
//
// [Request preconditions]: https://cloud.google.com/storage/docs/request-preconditions
type Version struct {
	Gen, Meta int64
}

// Object is an object as one answer showed it.
type Object struct {
	Name string
	Version
	Metadata map[string]string
	Created  time.Time // the service's clock
	Updated  time.Time // the service's clock: the last change of the metadata

	Sent     clock.Instant // when the attempt that was answered left
	Received clock.Instant // when its answer was here
}

// Draft is what a new object is made of.
type Draft struct {
	Metadata    map[string]string
	ContentType string
	Body        []byte
}

// Store is one bucket, seen through one storage client. It is safe for concurrent use.
type Store struct {
	bucket  *storage.BucketHandle
	timeout time.Duration
	clock   clock.Clock
	usage   *counters

	tally    *counters            // of this store alone; nil: nobody asks
	tell     *telemetry.Telemetry // nil: nobody listens
	throttle *throttle            // nil: nobody reads
	reach    *reach
}

// NewStore returns a store whose attempts each take no longer than timeout. The handle is used as it is: never
// changed, never closed.
func NewStore(bucket *storage.BucketHandle, timeout time.Duration, c clock.Clock) *Store {
	return &Store{bucket: bucket, timeout: timeout, clock: c, usage: new(counters), reach: new(reach)}
}

// WithTimeout returns the same store with another bound on each attempt. The two count requests together.
func (s *Store) WithTimeout(timeout time.Duration) *Store {
	t := *s
	t.timeout = timeout
	return &t
}

// Clock is the clock that the store stamps its answers with.
func (s *Store) Clock() clock.Clock { return s.clock }

// URL names an object for people, as far as a name is short.
func (s *Store) URL(name string) string { return "gs://" + s.bucket.BucketName() + "/" + Short(name) }

// Create makes one attempt to create name, on condition that no live version of it exists.
func (s *Store) Create(ctx context.Context, name string, d Draft) (Object, error) {
	return s.exchange(ctx, Request{Op: opCreate, Name: name, Metadata: d.Metadata}, func(ctx context.Context) (*storage.ObjectAttrs, error) {
		w := s.handle(name).If(storage.Conditions{DoesNotExist: true}).NewWriter(ctx)
		w.ChunkSize = 0 // one request; the default buffers 16 MiB
		w.CacheControl = "no-store"
		w.ContentType = cmp.Or(d.ContentType, "application/octet-stream") // without one, some emulators answer 500
		w.Metadata = d.Metadata
		if len(d.Body) > 0 {
			if _, err := w.Write(d.Body); err != nil {
				_ = w.Close() // an unclosed writer keeps two goroutines
				return nil, err
			}
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		return w.Attrs(), nil
	})
}

// Get makes one attempt to read the metadata of name.
func (s *Store) Get(ctx context.Context, name string) (Object, error) {
	return s.exchange(ctx, Request{Op: opGet, Name: name}, func(ctx context.Context) (*storage.ObjectAttrs, error) {
		return s.handle(name).Attrs(ctx)
	})
}

// GetIf makes one attempt to read the metadata of name on condition that it is at version v; else it is Refused, and
// the service charges nothing.
func (s *Store) GetIf(ctx context.Context, name string, v Version) (Object, error) {
	return s.exchange(ctx, Request{Op: opGet, Name: name, At: v}, func(ctx context.Context) (*storage.ObjectAttrs, error) {
		return s.handle(name).If(v.conditions()).Attrs(ctx)
	})
}

// Patch makes one attempt to merge metadata into name on condition that it is at version v.
func (s *Store) Patch(ctx context.Context, name string, v Version, metadata map[string]string) (Object, error) {
	return s.exchange(ctx, Request{Op: opPatch, Name: name, At: v, Metadata: metadata}, func(ctx context.Context) (*storage.ObjectAttrs, error) {
		return s.handle(name).If(v.conditions()).Update(ctx, storage.ObjectAttrsToUpdate{Metadata: metadata})
	})
}

// Delete makes one attempt to delete name on condition that it is at version v. A zero v.Meta stands for any
// metageneration of the generation.
//
// The answer to a delete is empty, and the client shows nothing of it: that it is the service's cannot be seen. Who is to
// conclude anything from a delete but that it need not be sent again reads the object after it.
func (s *Store) Delete(ctx context.Context, name string, v Version) error {
	_, err := s.attempt(ctx, &Request{Op: opDelete, Name: name, At: v}, func(ctx context.Context) (string, error) {
		return "", s.handle(name).If(v.conditions()).Delete(ctx)
	})
	return err
}

// List returns every object whose name begins with prefix, in the order of their names, and in how many pages they came:
// one attempt and one timeout each. A page is one moment, several are not.
//
// A listing without objects looks like any empty answer. It is evidence only for who knows an object that it should show.
func (s *Store) List(ctx context.Context, prefix string) (all []Object, pages int, err error) {
	for token := ""; ; {
		page, next, err := s.list(ctx, prefix, token)
		if err != nil {
			return nil, 0, err
		}
		all = append(all, page...)
		pages++
		if next == "" {
			return all, pages, nil
		}
		token = next
	}
}

func (s *Store) list(ctx context.Context, prefix, token string) (page []Object, next string, err error) {
	q := &storage.Query{Prefix: prefix, Projection: storage.ProjectionNoACL}
	if err := q.SetAttrSelection([]string{"Bucket", "Name", "Generation", "Metageneration", "Metadata", "Created", "Updated"}); err != nil {
		return nil, "", err
	}
	var attrs []*storage.ObjectAttrs
	answer, err := s.attempt(ctx, &Request{Op: opList, Name: prefix}, func(ctx context.Context) (mismatch string, err error) {
		attrs = nil
		next, err = iterator.NewPager(s.bucket.Objects(ctx, q), pageSize, token).NextPage(&attrs)
		for _, a := range attrs {
			if !strings.HasPrefix(a.Name, prefix) {
				return "an object that was not asked for", nil
			}
			if mismatch = (&Request{Op: opList, Bucket: s.bucket.BucketName(), Name: a.Name}).Mismatch(a); mismatch != "" {
				return mismatch, nil
			}
		}
		return "", err
	})
	if err != nil {
		return nil, "", err
	}
	page = make([]Object, 0, len(attrs))
	for _, a := range attrs {
		o := fromAttrs(a)
		o.Sent, o.Received = answer.Sent, answer.Received
		page = append(page, o)
	}
	return page, next, nil
}

const pageSize = 1000

// exchange is an attempt that is answered with the object.
func (s *Store) exchange(ctx context.Context, r Request, do func(context.Context) (*storage.ObjectAttrs, error)) (Object, error) {
	var attrs *storage.ObjectAttrs
	answer, err := s.attempt(ctx, &r, func(ctx context.Context) (mismatch string, err error) {
		if attrs, err = do(ctx); err == nil {
			mismatch = r.Mismatch(attrs)
		}
		return mismatch, err
	})
	if err != nil {
		return Object{}, err
	}
	o := fromAttrs(attrs)
	o.Sent, o.Received = answer.Sent, answer.Received
	return o, nil
}

// answered is when an attempt left, and when its answer was here.
type answered struct{ Sent, Received clock.Instant }

// attempt runs one request: bounded, stamped, counted, classified. What do returns beside an error says why the answer is
// none to the request.
func (s *Store) attempt(ctx context.Context, r *Request, do func(context.Context) (mismatch string, err error)) (answered, error) {
	r.Bucket = s.bucket.BucketName()
	sent, left := s.clock.Now(), time.Now()
	failure := func(outcome Outcome, advice string, err error) *Error {
		return &Error{Op: r.Op, Bucket: r.Bucket, Name: r.Name, Outcome: outcome, Advice: advice, Err: err, Sent: sent, Date: dateOf(err)}
	}
	if err := CheckName(r.Name); err != nil && r.Op != opList {
		return answered{}, failure(Denied, err.Error(), nil)
	}
	if ctx.Err() != nil {
		return answered{}, failure(Busy, "not sent", Ended(ctx))
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	mismatch, err := do(bounded)
	received := s.clock.Now()
	outcome, advice := r.Judge(mismatch, err)
	if outcome == Applied {
		s.judge(r, nil, left)
		s.count(r.Op, r.Name, Applied, nil)
		return answered{sent, received}, nil
	}
	e := failure(outcome, advice, err)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		e.Err = fmt.Errorf("%w (%w)", Ended(ctx), said{err})
	case bounded.Err() != nil:
		e.Advice, e.Err = fmt.Sprintf("no answer within %v", s.timeout), said{err}
	default:
		e.Err = said{err}
	}
	if outcome != Indeterminate || ctx.Err() == nil || time.Since(left) >= troubling { // else it was cut off too soon to tell
		s.judge(r, e, left)
	}
	s.count(r.Op, r.Name, e.Outcome, err)
	return answered{}, e
}

// handle returns a handle of our own for name, with the client's retries off. Each object gets a fresh copy of the
// bucket's retry settings, so switching them off here does not reach the caller's handle.
func (s *Store) handle(name string) *storage.ObjectHandle {
	return s.bucket.Object(name).Retryer(storage.WithPolicy(storage.RetryNever))
}

func (v Version) conditions() storage.Conditions {
	return storage.Conditions{GenerationMatch: v.Gen, MetagenerationMatch: v.Meta}
}

func fromAttrs(a *storage.ObjectAttrs) Object {
	return Object{
		Name:     a.Name,
		Version:  Version{Gen: a.Generation, Meta: a.Metageneration},
		Metadata: a.Metadata,
		Created:  a.Created,
		Updated:  a.Updated,
	}
}

// CheckBucket reports why nothing can be in a bucket of that name, or nil.
func CheckBucket(name string) error {
	switch bare, url := strings.CutPrefix(name, "gs://"); {
	case name == "":
		return errors.New("the bucket has no name")
	case url:
		return fmt.Errorf("%q is a URL: the bucket is called %q", name, strings.TrimSuffix(bare, "/"))
	case strings.ContainsAny(name, "/ "):
		return fmt.Errorf("%q is not the name of a bucket", name)
	}
	return nil
}

// MaxName is the longest object name that the service takes, in bytes of UTF-8 [Object names].
//
// [Object names]: https://cloud.google.com/storage/docs/objects#naming
const MaxName = 1024

// CheckName reports why the service would not take name, or nil.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("illegal name: empty")
	case len(name) > MaxName:
		return fmt.Errorf("illegal name: %d bytes long, the service takes %d", len(name), MaxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("illegal name: %q is not valid UTF-8", name)
	case name == "." || name == "..":
		return fmt.Errorf("illegal name: %q", name)
	}
	for _, r := range name {
		if r == '\r' || r == '\n' {
			return fmt.Errorf("illegal name: %q has a line break", name)
		}
	}
	return nil
}
