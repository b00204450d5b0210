package conformance

import (
	"net/http"
	"testing"

	"cloud.google.com/go/storage"
)

func testCreateIfAbsent(t *testing.T, f *fixture) {
	ctx := t.Context()
	o := f.object("o").If(storage.Conditions{DoesNotExist: true})
	first := f.create(t, "o", "one")
	_, err := write(ctx, o, "two")
	wantCode(t, "second create", err, http.StatusPreconditionFailed)
	got, err := f.object("o").Attrs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if version(got) != version(first) || got.Size != 3 {
		t.Errorf("the refused create changed %s to %s", version(first), version(got))
	}
	if err := remove(ctx, f.object("o")); err != nil {
		t.Fatal(err)
	}
	if _, err := write(ctx, o, "three"); err != nil {
		t.Errorf("create after delete: %v", err)
	}
}

// testPreconditions tries every condition, met and not, on each call that
// changes an existing object.
func testPreconditions(t *testing.T, f *fixture) {
	calls := map[string]func(*storage.ObjectHandle) error{
		"patch": func(o *storage.ObjectHandle) error {
			_, err := patch(t.Context(), o, map[string]string{"k": "v"})
			return err
		},
		"overwrite": func(o *storage.ObjectHandle) error {
			_, err := write(t.Context(), o, "new")
			return err
		},
		"delete": func(o *storage.ObjectHandle) error { return remove(t.Context(), o) },
	}
	for name, call := range calls {
		f.testConditions(t, name, call)
	}
}

func (f *fixture) testConditions(t *testing.T, name string, call func(*storage.ObjectHandle) error) {
	f.create(t, name, "old")
	// A patch makes the metageneration 2, so that it is not 1 by chance.
	a, err := patch(t.Context(), f.object(name), map[string]string{"k": "u"})
	if err != nil {
		t.Fatal(err)
	}
	g, m := a.Generation, a.Metageneration
	for _, c := range [...]storage.Conditions{
		{GenerationMatch: g + 1},
		{GenerationMatch: g - 1},
		{GenerationNotMatch: g},
		{MetagenerationMatch: m + 1},
		{MetagenerationMatch: m - 1},
		{MetagenerationNotMatch: m},
		{DoesNotExist: true},
		{GenerationMatch: g, MetagenerationMatch: m + 1},
		{GenerationMatch: g + 1, MetagenerationMatch: m},
		{GenerationMatch: g, MetagenerationNotMatch: m},
	} {
		wantRefusal(t, name, call(f.object(name).If(c)), c)
	}
	now, err := f.object(name).Attrs(t.Context())
	if err != nil || version(now) != version(a) {
		t.Fatalf("%s: refused calls had an effect: %v, %v, want %s", name, now, err, version(a))
	}
	good := storage.Conditions{GenerationMatch: g, MetagenerationMatch: m}
	if err := call(f.object(name).If(good)); err != nil {
		t.Errorf("%s with conditions that hold: %v", name, err)
	}
	if err := call(f.object(name).If(good)); err == nil {
		t.Errorf("%s: the same conditions held twice", name)
	}
}

// wantRefusal fails the test if the error is not that of a failed condition. For
// a not-match, which leases do not use, the documentation allows both statuses.
func wantRefusal(t *testing.T, what string, err error, c storage.Conditions) {
	t.Helper()
	got := code(err)
	notMatch := c.GenerationNotMatch != 0 || c.MetagenerationNotMatch != 0
	if got != http.StatusPreconditionFailed && (!notMatch || got != http.StatusNotModified) {
		t.Errorf("%s with %+v: got status %d (%v), want 412", what, c, got, err)
	}
}

func testOverwriteConditions(t *testing.T, f *fixture) {
	ctx := t.Context()
	for _, c := range [...]storage.Conditions{{GenerationMatch: 12345}, {MetagenerationMatch: 1}} {
		_, err := write(ctx, f.object("o").If(c), "x")
		wantCode(t, "overwrite of nothing", err, http.StatusPreconditionFailed)
	}
	one := f.create(t, "o", "one", withMetadata(map[string]string{"k": "v"}))
	for range 2 {
		two, err := write(ctx, f.object("o").If(storage.Conditions{GenerationMatch: one.Generation}), "two!")
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case two.Generation == one.Generation:
			t.Error("an overwrite kept the generation")
		case two.Metageneration != 1:
			t.Errorf("an overwrite made metageneration %d", two.Metageneration)
		case len(two.Metadata) != 0:
			t.Errorf("an overwrite kept metadata %v", two.Metadata)
		}
		one = two
	}
}

func testReadConditions(t *testing.T, f *fixture) {
	ctx := t.Context()
	a := f.create(t, "o", "content")
	g, m := a.Generation, a.Metageneration
	for _, c := range [...]struct {
		cond storage.Conditions
		want int
	}{
		{storage.Conditions{GenerationMatch: g, MetagenerationMatch: m}, 0},
		{storage.Conditions{GenerationNotMatch: g + 1}, 0},
		{storage.Conditions{GenerationMatch: g + 1}, http.StatusPreconditionFailed},
		{storage.Conditions{MetagenerationMatch: m + 1}, http.StatusPreconditionFailed},
		{storage.Conditions{DoesNotExist: true}, http.StatusPreconditionFailed},
		{storage.Conditions{GenerationNotMatch: g}, http.StatusNotModified},
		{storage.Conditions{MetagenerationNotMatch: m}, http.StatusNotModified},
	} {
		_, err := f.object("o").If(c.cond).Attrs(ctx)
		if c.want == 0 && err != nil {
			t.Errorf("attrs with %+v: %v", c.cond, err)
		}
		wantCode(t, "attrs", err, c.want)
		if c.cond.GenerationNotMatch != 0 || c.cond.MetagenerationNotMatch != 0 {
			continue // the client does not send these with a read of the content
		}
		r, err := f.object("o").If(c.cond).NewReader(ctx)
		wantCode(t, "read", err, c.want)
		if err == nil {
			_ = r.Close() // nothing was written
		}
	}
}

// testAddressedGeneration tests a generation that is part of the address, whose
// absence is not a failed condition.
func testAddressedGeneration(t *testing.T, f *fixture) {
	ctx := t.Context()
	a := f.create(t, "o", "x")
	other := f.object("o").Generation(a.Generation + 1)
	_, err := other.Attrs(ctx)
	wantCode(t, "attrs", err, http.StatusNotFound)
	_, err = patch(ctx, other, map[string]string{"k": "v"})
	wantCode(t, "patch", err, http.StatusNotFound)
	wantCode(t, "delete", remove(ctx, other), http.StatusNotFound)
	if _, err := f.object("o").Generation(a.Generation).Attrs(ctx); err != nil {
		t.Errorf("attrs of the live generation: %v", err)
	}
	if err := remove(ctx, f.object("o").Generation(a.Generation)); err != nil {
		t.Errorf("delete of the live generation: %v", err)
	}
}

// testMetagenerationABA shows why a metageneration means nothing alone.
func testMetagenerationABA(t *testing.T, f *fixture) {
	ctx := t.Context()
	one := f.create(t, "o", "one")
	if err := remove(ctx, f.object("o")); err != nil {
		t.Fatal(err)
	}
	two := f.create(t, "o", "two")
	if two.Metageneration != 1 || two.Generation == one.Generation {
		t.Fatalf("recreated %s as %s", version(one), version(two))
	}
	_, err := patch(ctx, f.object("o").If(storage.Conditions{
		GenerationMatch: one.Generation, MetagenerationMatch: 1,
	}), map[string]string{"k": "v"})
	wantCode(t, "patch of the old generation", err, http.StatusPreconditionFailed)
	got, err := patch(ctx, f.object("o").If(storage.Conditions{MetagenerationMatch: 1}), map[string]string{"k": "v"})
	if err != nil || got.Generation != two.Generation {
		t.Errorf("patch by metageneration alone: %v, %v; want it to hit the wrong generation", got, err)
	}
}

func testGenerationsAreUnique(t *testing.T, f *fixture) {
	seen := make(map[int64]bool)
	for range 5 {
		for _, name := range [...]string{"a", "b"} {
			a, err := write(t.Context(), f.object(name), "x")
			if err != nil {
				t.Fatal(err)
			}
			if a.Generation <= 0 || seen[a.Generation] {
				t.Errorf("generation %d came twice", a.Generation)
			}
			seen[a.Generation] = true
		}
	}
}
