package object

import (
	"context"
	"fmt"
	"io"

	"cloud.google.com/go/storage"
)

// Read makes one attempt to read the content of name on condition that it is at generation gen; else it is Refused. What
// is longer than limit bytes is Denied.
func (s *Store) Read(ctx context.Context, name string, gen int64, limit int64) ([]byte, error) {
	var data []byte
	var size int64
	_, err := s.attempt(ctx, opGet, name, func(ctx context.Context) (*storage.ObjectAttrs, error) {
		r, err := s.handle(name).If(storage.Conditions{GenerationMatch: gen}).NewReader(ctx)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		if size = r.Attrs.Size; size > limit {
			return nil, nil
		}
		data, err = io.ReadAll(r)
		return nil, err
	})
	if err == nil && size > limit {
		advice := fmt.Sprintf("%d bytes long, %d at most are ours", size, limit)
		return nil, &Error{Op: opGet, Bucket: s.bucket.BucketName(), Name: name, Outcome: Denied, Advice: advice}
	}
	return data, err
}
