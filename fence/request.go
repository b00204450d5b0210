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

// The names of the requests, as [object.Classify] knows them. An upload fails in the ways of a create.
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
	return g.exchange(ctx, opGet, 0, func(ctx context.Context) (*storage.ObjectAttrs, error) {
		return g.handle().Attrs(ctx)
	})
}

// mark merges the metadata of a seal into the object if it is at version v.
func (g *guarded) mark(ctx context.Context, v object.Version, m mark) (state, error) {
	return g.exchange(ctx, opPatch, 0, func(ctx context.Context) (*storage.ObjectAttrs, error) {
		return g.handle().If(at(v)).Update(ctx, storage.ObjectAttrsToUpdate{Metadata: m.sealing()})
	})
}

// create makes the object if there is none.
func (g *guarded) create(ctx context.Context, m mark) (state, error) {
	fresh := &storage.ObjectAttrs{ContentType: "application/octet-stream"}
	return g.upload(ctx, storage.Conditions{DoesNotExist: true}, m, fresh, g.opts.Initial)
}

// replace replaces the content of the object if it is as s showed it, and keeps what describes the content.
func (g *guarded) replace(ctx context.Context, s state, m mark, data []byte) (state, error) {
	return g.upload(ctx, at(s.Version), m, s.attrs, data)
}

func (g *guarded) upload(ctx context.Context, c storage.Conditions, m mark, like *storage.ObjectAttrs, data []byte) (state, error) {
	return g.exchange(ctx, opUpload, len(data), func(ctx context.Context) (*storage.ObjectAttrs, error) {
		w := g.handle().If(c).NewWriter(ctx)
		w.ChunkSize = 0 // one request, straight from data; the default copies it into a buffer of 16 MiB
		w.Metadata = m.writing(like.Metadata)
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
	err := g.attempt(ctx, opGet, int(s.attrs.Size), func(ctx context.Context) error {
		// As it is stored: content that the service unpacks on the way could not be written back.
		r, err := g.handle().ReadCompressed(true).If(storage.Conditions{GenerationMatch: s.Gen}).NewReader(ctx)
		if err != nil {
			return err
		}
		served = r.Attrs.Generation
		data, err = io.ReadAll(r)
		_ = r.Close() // has been read to its end or failed
		return err
	})
	if err == nil && served != s.Gen {
		return nil, g.fail(opGet, object.Denied, "a cache has answered with another generation: is it public? set its Cache-Control to no-store", nil)
	}
	return data, err
}

// exchange is an attempt at a request that is answered with the object's attributes.
func (g *guarded) exchange(ctx context.Context, op string, size int, do func(context.Context) (*storage.ObjectAttrs, error)) (state, error) {
	var attrs *storage.ObjectAttrs
	err := g.attempt(ctx, op, size, func(ctx context.Context) (err error) {
		attrs, err = do(ctx)
		return err
	})
	if err != nil {
		return state{}, err
	}
	m, err := parseMark(attrs.Metadata)
	if err != nil {
		return state{}, g.fail(op, object.Denied, err.Error(), nil)
	}
	return state{Version: object.Version{Gen: attrs.Generation, Meta: attrs.Metageneration}, mark: m, attrs: attrs}, nil
}

// attempt runs one request that carries size bytes: bounded and classified.
func (g *guarded) attempt(ctx context.Context, op string, size int, do func(context.Context) error) error {
	if ctx.Err() != nil {
		return g.fail(op, object.Busy, "not sent", context.Cause(ctx))
	}
	enough := patience(size)
	bounded, cancel := context.WithTimeout(ctx, enough)
	defer cancel()
	err := do(bounded)
	outcome, advice := object.Classify(op, err)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		err = fmt.Errorf("%w (%w)", context.Cause(ctx), err)
	case bounded.Err() != nil:
		advice = fmt.Sprintf("no answer within %v", enough)
	}
	return g.fail(op, outcome, advice, err)
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
