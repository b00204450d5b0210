package main

import (
	"context"
	"errors"

	"github.com/gcsync/gcsync/lease"
)

// locker is what can be tried.
type locker interface {
	TryLock(ctx context.Context) (bool, error)
	Unlock(ctx context.Context) error
	Lease() *lease.Lease
}

// attempt is Do for those who do not wait.
func attempt(ctx context.Context, l locker, f func(context.Context) error) error {
	ok, err := l.TryLock(ctx)
	switch {
	case err != nil:
		return err
	case !ok:
		return errBusy
	}
	inside, cancel := l.Lease().Context(ctx)
	defer cancel()
	err = f(inside)
	return errors.Join(err, l.Unlock(ctx))
}
