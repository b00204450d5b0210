package fence

import (
	"context"
	"fmt"

	"github.com/gcsync/gcsync/internal/object"
)

// An Object is a guarded object at the version that its holder last saw: that of its seal, and then that of each of its
// writes. It is not safe for concurrent use.
type Object struct {
	g    *guarded
	mark mark  // as this holder sealed it
	at   state // what reads and writes name
	over error // why it is no longer good; nil while it is
}

// Token returns the token under which the object was sealed.
func (o *Object) Token() int64 { return o.mark.token }

// Generation returns the generation of the content that [Object.Read] returns and that the next [Object.Write] replaces.
func (o *Object) Generation() int64 { return o.at.Gen }

// Read returns the content that was sealed, or last written by o: exactly this generation, in the bytes in which it is
// stored. If something else is there by now, the error is a [*StaleError], or wraps [ErrChanged].
func (o *Object) Read(ctx context.Context) ([]byte, error) {
	data, err := o.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("fence: read: %w", err)
	}
	return data, nil
}

func (o *Object) read(ctx context.Context) ([]byte, error) {
	pause := o.g.opts.Backoff()
	for o.over == nil {
		data, err := o.g.read(ctx, o.at)
		switch object.OutcomeOf(err) {
		case object.Applied:
			return data, nil
		case object.Denied:
			return nil, err
		case object.Refused, object.Missing:
			s, lookErr := o.g.look(ctx)
			switch object.OutcomeOf(lookErr) {
			case object.Applied:
				o.over = o.verdict(s)
			case object.Missing:
				o.over = o.changed("it was deleted")
			}
		}
		if o.over == nil && !object.Pause(ctx, pause) {
			return nil, because(ctx, err)
		}
	}
	return nil, o.over
}

// verdict says what it means for o that the object is in state s: nil if it is still in the hands of o, at the same
// content.
func (o *Object) verdict(s state) error {
	switch {
	case s.token > o.mark.token:
		return o.g.stale(o.mark.token, s)
	case s.token == o.mark.token && s.seal != o.mark.seal:
		return o.changed("it was sealed again under the same token")
	case s.token != o.mark.token || s.Gen != o.at.Gen:
		return o.changed("somebody writes to it without sealing it")
	}
	return nil
}

func (o *Object) changed(how string) error {
	return fmt.Errorf("%s: %w: %s", o.g.url(), ErrChanged, how)
}

func (o *Object) unknown(err error) error {
	return fmt.Errorf("%s: %w: seal it again and read: %w", o.g.url(), ErrUnknown, err)
}
