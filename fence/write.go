package fence

import (
	"context"
	"fmt"

	"github.com/gcsync/gcsync/internal/object"
)

// Write replaces the content of the object, on condition that nothing has happened to it since o last saw it. What
// describes the content stays: the content type unless [Options.ContentType] says otherwise, encoding, language,
// disposition and cache control, and the metadata that others keep.
//
//   - nil: the object has the content, and o is at the new version.
//   - [*StaleError]: a holder with a greater token has sealed the object. Not applied.
//   - [ErrChanged]: something else is there. Not applied.
//   - [ErrUnknown]: it may have been applied, or may still be. Either of the others may be wrapped as well.
//   - any other error, such as a permission that is missing or a context that had ended: not applied.
//
// After one of the three o is no longer good, and its calls return the same error; [Seal] again. After any other it is as
// it was. Nil may come even when a newer holder has sealed or written the object meanwhile, if it did so after the write.
func (o *Object) Write(ctx context.Context, data []byte) error {
	if o.over == nil {
		w := writing{Object: o, data: data, origin: origin{from: o.at.Gen, nonce: object.NewNonce()}}
		if err := w.run(ctx); err != nil {
			return fmt.Errorf("fence: write: %w", err)
		}
		return nil
	}
	return fmt.Errorf("fence: write: %w", o.over)
}

// writing is one write. All its attempts name the same generation, so that one of them at most is ever applied.
type writing struct {
	*Object
	data   []byte
	origin origin
	open   bool // an attempt may have been applied, or may be yet
}

func (w *writing) run(ctx context.Context) error {
	pause := w.g.opts.Backoff()
	for {
		s, err := w.g.replace(ctx, w.at, w.at.after(w.origin), w.data)
		switch object.OutcomeOf(err) {
		case object.Applied:
			w.at = s
			return nil
		case object.Refused, object.Missing, object.Indeterminate:
			// A refusal does not say that somebody else has written: it may be the echo of our own success.
			w.open = true
			s, lookErr := w.g.look(ctx)
			switch object.OutcomeOf(lookErr) {
			case object.Applied:
				if done, err := w.settle(s); done {
					return err
				}
			case object.Missing:
				w.over = w.unknown(w.changed("it was deleted"))
				return w.over
			case object.Denied:
				return w.leave(lookErr)
			}
		case object.Denied:
			return w.leave(err)
		}
		if !object.Pause(ctx, pause) {
			return w.leave(because(ctx, err))
		}
	}
}

// settle concludes from the object as it stands what became of the write. Not done means that it was not applied so
// far, and may be tried again on what w.at says now.
func (w *writing) settle(s state) (done bool, err error) {
	switch {
	case s.has(w.origin):
		// Applied. But a newer holder may have sealed it since, and then this version is not ours to write on.
		w.at = s
		w.over = w.verdict(s)
		return true, nil
	case s.Gen == w.at.Gen:
		// Not applied. Should somebody have sealed it, it never will be: that changed the metageneration. Otherwise
		// the service may have touched the metadata, which is no reason to give up.
		if w.over = w.verdict(s); w.over != nil {
			return true, w.over
		}
		w.at = s
		return false, nil
	}
	w.over = w.verdict(s)
	if !s.excludes(w.origin) {
		w.over = w.unknown(w.over)
	}
	return true, w.over
}

// leave gives up on a write that could not be finished.
func (w *writing) leave(err error) error {
	if !w.open {
		return err
	}
	w.over = w.unknown(err)
	return w.over
}
