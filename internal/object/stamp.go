package object

import (
	"context"
	"time"
)

// Stamp returns the time by the service's clock: that at which it created an object, which is deleted again. The name
// must be nobody else's. It costs one write; [Error.Date] hints for nothing at whether it is worth that.
func (s *Store) Stamp(ctx context.Context, name string, b Backoff) (time.Time, error) {
	o, err := s.CreateResolved(ctx, name, Draft{Metadata: map[string]string{KeyNonce: NewNonce()}}, b)
	if err != nil {
		return time.Time{}, err
	}
	_ = s.Delete(ctx, name, o.Version) // an empty object that stays behind is in nobody's way
	return o.Created, nil
}
