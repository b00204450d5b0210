package object

import (
	"context"
	"fmt"
	"io"

	"cloud.google.com/go/storage"
)

// Read makes one attempt to read the content of name on condition that it is at generation gen; else it is Refused, or
// Missing. What is longer than limit bytes is Denied.
//
// Of a read that does not succeed the client tells too little to conclude anything, so the object is looked at as well.
func (s *Store) Read(ctx context.Context, name string, gen int64, limit int64) ([]byte, error) {
	var data []byte
	var size int64
	_, err := s.attempt(ctx, &Request{Op: opGet, Name: name, At: Version{Gen: gen}}, func(ctx context.Context) (mismatch string, err error) {
		r, err := s.handle(name).If(storage.Conditions{GenerationMatch: gen}).NewReader(ctx)
		if err != nil {
			return "", err
		}
		defer r.Close()
		if r.Attrs.Generation != gen {
			return "content of another generation", nil
		}
		if size = r.Attrs.Size; size > limit {
			return "", nil
		}
		data, err = io.ReadAll(r)
		return "", err
	})
	if OutcomeOf(err) == Refused {
		o, lookErr := s.Get(ctx, name)
		switch {
		case lookErr != nil:
			return nil, lookErr
		case o.Gen == gen:
			return nil, &Error{Op: opGet, Bucket: s.bucket.BucketName(), Name: name, Outcome: Indeterminate, Advice: foreign("no content"), Err: err}
		}
		return nil, err
	}
	if err == nil && size > limit {
		advice := fmt.Sprintf("%d bytes long, %d at most are ours", size, limit)
		return nil, &Error{Op: opGet, Bucket: s.bucket.BucketName(), Name: name, Outcome: Denied, Advice: advice}
	}
	return data, err
}
