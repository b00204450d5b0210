package conformance

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"cloud.google.com/go/storage"
)

// race has many goroutines try the same thing at once, and returns how many
// succeeded. Whoever did not must have been refused, by a condition or by the
// limit on the rate, or else have found nothing there any more.
func (f *fixture) race(t *testing.T, try func(i int) error) (winners []int) {
	t.Helper()
	errs := make([]error, f.Concurrency)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			<-start
			errs[i] = try(i)
		})
	}
	close(start)
	wg.Wait()
	for i, err := range errs {
		switch code(err) {
		case http.StatusPreconditionFailed, http.StatusTooManyRequests, http.StatusNotFound:
		default:
			if err != nil {
				t.Errorf("a loser got %v", err)
				continue
			}
			winners = append(winners, i)
		}
	}
	return winners
}

// oneWinner is race for what only one can win.
func (f *fixture) oneWinner(t *testing.T, try func(i int) error) int {
	t.Helper()
	winners := f.race(t, try)
	if len(winners) != 1 {
		t.Fatalf("%d of %d won, want exactly one", len(winners), f.Concurrency)
	}
	return winners[0]
}

func tag(i int) map[string]string { return map[string]string{"winner": fmt.Sprint(i)} }

func (f *fixture) wantWinner(t *testing.T, i int) *storage.ObjectAttrs {
	t.Helper()
	a, err := f.object("o").Attrs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a.Metadata["winner"] != fmt.Sprint(i) {
		t.Errorf("%v is stored, but %d was told it won", a.Metadata, i)
	}
	return a
}

func testCreateRace(t *testing.T, f *fixture) {
	o := f.object("o").If(storage.Conditions{DoesNotExist: true})
	i := f.oneWinner(t, func(i int) error {
		_, err := writeOnce(t.Context(), o, "", withMetadata(tag(i)))
		return err
	})
	f.wantWinner(t, i)
}

func testPatchRace(t *testing.T, f *fixture) {
	a := f.create(t, "o", "")
	for range 3 {
		o := f.object("o").If(storage.Conditions{GenerationMatch: a.Generation, MetagenerationMatch: a.Metageneration})
		i := f.oneOrAgain(t, func(i int) error {
			_, err := o.Update(t.Context(), storage.ObjectAttrsToUpdate{Metadata: tag(i)})
			return err
		})
		a = f.wantWinner(t, i)
	}
}

func testOverwriteRace(t *testing.T, f *fixture) {
	a := f.create(t, "o", "")
	for range 3 {
		o := f.object("o").If(storage.Conditions{GenerationMatch: a.Generation})
		i := f.oneOrAgain(t, func(i int) error {
			_, err := writeOnce(t.Context(), o, "", withMetadata(tag(i)))
			return err
		})
		a = f.wantWinner(t, i)
	}
}

func testDeleteRace(t *testing.T, f *fixture) {
	for range 3 {
		a := f.create(t, "o", "")
		o := f.object("o").If(storage.Conditions{GenerationMatch: a.Generation})
		f.oneOrAgain(t, func(int) error { return o.Delete(t.Context()) })
	}
}

// oneOrAgain is oneWinner for an object that has just been changed, for which
// the limit on the rate may refuse everybody at first.
func (f *fixture) oneOrAgain(t *testing.T, try func(i int) error) int {
	t.Helper()
	winner := -1
	err := patiently(func() error {
		var mu sync.Mutex
		var limited error
		winners := f.race(t, func(i int) error {
			err := try(i)
			if code(err) == http.StatusTooManyRequests {
				mu.Lock()
				defer mu.Unlock()
				limited = err
			}
			return err
		})
		switch {
		case len(winners) == 1:
			winner = winners[0]
			return nil
		case len(winners) == 0 && limited != nil:
			return limited
		}
		return fmt.Errorf("%d of %d won, want exactly one", len(winners), f.Concurrency)
	})
	if err != nil {
		t.Fatal(err)
	}
	return winner
}
