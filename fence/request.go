package fence

import (
	"context"
	"fmt"
	"io"
	"time"

	"cloud.google.com/go/storage"

	"github.com/gcsync/gcsync/internal/object"
)

// guarded is the object in the bucket. Each of its methods makes one attempt at one request, bounded by a timeout of
// its own, and returns an [object.Error] that tells how it ended.
type guarded struct {
	bucket *storage.BucketHandle
	name   string
	opts   Options
}

// state is the object as one answer showed it.
type state struct {
	object.Version
	mark
	attrs *storage.ObjectAttrs
}

// The names of the requests, as [object.Request] knows them. An upload fails in the ways of a create.
const (
	opGet    = "get"
	opPatch  = "patch"
	opUpload = "create"
)

func (g *guarded) url() string { return "gs://" + g.bucket.BucketName() + "/" + g.name }

// handle returns a handle of our own, with the client's retries off: a retry that nobody sees turns a write that was
// applied into one that was refused. Each call gets a fresh copy of the bucket's retry settings to change.
func (g *guarded) handle() *storage.ObjectHandle {
	return g.bucket.Object(g.name).Retryer(storage.WithPolicy(storage.RetryNever))
}

func (g *guarded) look(ctx context.Context) (state, error) {
	return g.exchange(ctx, &object.Request{Op: opGet}, 0, func(ctx context.Context) (*storage.ObjectAttrs, error) {
		return g.handle().Attrs(ctx)
	})
}

// mark merges the metadata of a seal into the object if it is at version v.
func (g *guarded) mark(ctx context.Context, v object.Version, m mark) (state, error) {
	return g.exchange(ctx, &object.Request{Op: opPatch, At: v, Metadata: m.sealing()}, 0, func(ctx context.Context) (*storage.ObjectAttrs, error) {
		return g.handle().If(at(v)).Update(ctx, storage.ObjectAttrsToUpdate{Metadata: m.sealing()})
	})
}

// create makes the object if there is none.
func (g *guarded) create(ctx context.Context, m mark) (state, error) {
	fresh := &storage.ObjectAttrs{ContentType: "application/octet-stream"}
	return g.upload(ctx, object.Version{}, m, fresh, g.opts.Initial)
}

// replace replaces the content of the object if it is as s showed it, and keeps what describes the content.
func (g *guarded) replace(ctx context.Context, s state, m mark, data []byte) (state, error) {
	return g.upload(ctx, s.Version, m, s.attrs, data)
}

// upload writes the object if it is at version v; the zero Version: if there is none.
func (g *guarded) upload(ctx context.Context, v object.Version, m mark, like *storage.ObjectAttrs, data []byte) (state, error) {
	c := at(v)
	if v == (object.Version{}) {
		c = storage.Conditions{DoesNotExist: true}
	}
	r := &object.Request{Op: opUpload, At: v, Metadata: m.writing(like.Metadata)}
	return g.exchange(ctx, r, len(data), func(ctx context.Context) (*storage.ObjectAttrs, error) {
		w := g.handle().If(c).NewWriter(ctx)
		w.ChunkSize = 0 // one request, straight from data; the default copies it into a buffer of 16 MiB
		w.Metadata = r.Metadata
		w.ContentType = like.ContentType
		if g.opts.ContentType != "" {
			w.ContentType = g.opts.ContentType
		}
		w.ForceEmptyContentType = w.ContentType == ""
		w.ContentEncoding = like.ContentEncoding
		w.ContentLanguage = like.ContentLanguage
		w.ContentDisposition = like.ContentDisposition
		w.CacheControl = like.CacheControl
		if len(data) > 0 {
			if _, err := w.Write(data); err != nil {
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

// read reads the content of the generation that s showed.
func (g *guarded) read(ctx context.Context, s state) ([]byte, error) {
	var data []byte
	served := s.Gen
	err := g.attempt(ctx, &object.Request{Op: opGet, At: object.Version{Gen: s.Gen}}, int(s.attrs.Size), func(ctx context.Context) (mismatch string, err error) {
		// As it is stored: content that the service unpacks on the way could not be written back.
		r, err := g.handle().ReadCompressed(true).If(storage.Conditions{GenerationMatch: s.Gen}).NewReader(ctx)
		if err != nil {
			return "", err
		}
		defer r.Close() // has been read to its end or failed
		if served = r.Attrs.Generation; served <= 0 {
			return "content of no generation", nil
		}
		data, err = io.ReadAll(r)
		return "", err
	})
	if err == nil && served != s.Gen {
		return nil, g.fail(opGet, object.Denied, "a cache has answered with another generation: is it public? set its Cache-Control to no-store", nil)
	}
	return data, err
}

// exchange is an attempt at a request that is answered with the object's attributes.
func (g *guarded) exchange(ctx context.Context, r *object.Request, size int, do func(context.Context) (*storage.ObjectAttrs, error)) (state, error) {
	var attrs *storage.ObjectAttrs
	err := g.attempt(ctx, r, size, func(ctx context.Context) (mismatch string, err error) {
		if attrs, err = do(ctx); err == nil {
			mismatch = r.Mismatch(attrs)
		}
		return mismatch, err
	})
	if err != nil {
		return state{}, err
	}
	m, err := parseMark(attrs.Metadata)
	if err != nil {
		return state{}, g.fail(r.Op, object.Denied, err.Error(), nil)
	}
	return state{Version: object.Version{Gen: attrs.Generation, Meta: attrs.Metageneration}, mark: m, attrs: attrs}, nil
}

// attempt runs one request that carries size bytes: bounded and judged. What do returns beside an error says why the
// answer is none to the request.
func (g *guarded) attempt(ctx context.Context, r *object.Request, size int, do func(context.Context) (mismatch string, err error)) error {
	r.Bucket, r.Name = g.bucket.BucketName(), g.name
	if ctx.Err() != nil {
		return g.fail(r.Op, object.Busy, "not sent", context.Cause(ctx))
	}
	enough := patience(size)
	bounded, cancel := context.WithTimeout(ctx, enough)
	defer cancel()
	mismatch, err := do(bounded)
	outcome, advice := r.Judge(mismatch, err)
	switch {
	case outcome == object.Applied:
		return nil
	case err == nil:
	case ctx.Err() != nil:
		err = fmt.Errorf("%w (%w)", context.Cause(ctx), err)
	case bounded.Err() != nil:
		advice = fmt.Sprintf("no answer within %v", enough)
	}
	return g.fail(r.Op, outcome, advice, err)
}

func (g *guarded) fail(op string, outcome object.Outcome, advice string, err error) error {
	return &object.Error{Op: op, Bucket: g.bucket.BucketName(), Name: g.name, Outcome: outcome, Advice: advice, Err: err}
}

// patience is how long a request with so many bytes may take: one that hangs must not use up all the time of its
// caller, who may hold a lock meanwhile.
func patience(size int) time.Duration {
	return 5*time.Second + time.Duration(size)*time.Second>>20
}

func at(v object.Version) storage.Conditions {
	return storage.Conditions{GenerationMatch: v.Gen, MetagenerationMatch: v.Meta}
}
