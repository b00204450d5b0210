package conformance

import (
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"

	"cloud.google.com/go/storage"
)

func testAttributes(t *testing.T, f *fixture) {
	ctx := t.Context()
	made := f.create(t, "o", "hello", withMetadata(map[string]string{"K": "v"}), func(w *storage.Writer) {
		w.ContentType, w.CacheControl = "text/x-test", "no-store"
	})
	got, err := f.object("o").Attrs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range [...]*storage.ObjectAttrs{made, got} {
		switch {
		case a.Metageneration != 1, a.Generation != made.Generation:
			t.Errorf("version %s", version(a))
		case a.Size != 5, a.ContentType != "text/x-test", a.CacheControl != "no-store", a.StorageClass == "":
			t.Errorf("attributes %+v", a)
		case !maps.Equal(a.Metadata, map[string]string{"K": "v"}):
			t.Errorf("metadata %v", a.Metadata)
		case a.CRC32C != 0x9a71bb4c:
			t.Errorf("crc32c %#x", a.CRC32C)
		case a.Created.IsZero(), !a.Created.Equal(a.Updated), a.Etag == "":
			t.Errorf("created %v, updated %v, etag %q", a.Created, a.Updated, a.Etag)
		}
	}
	// The times have a resolution of a millisecond: patch until it is over.
	for {
		next, err := patch(ctx, f.object("o"), map[string]string{"K": "w"})
		if err != nil {
			t.Fatal(err)
		}
		if !next.Created.Equal(made.Created) || next.Updated.Before(made.Updated) || next.Etag == made.Etag {
			t.Errorf("patch changed created to %v, updated from %v to %v", next.Created, made.Updated, next.Updated)
		}
		if next.Updated.After(made.Updated) {
			return
		}
		if next.Metageneration > 1000 {
			t.Fatalf("updated is still %v after %d patches", next.Updated, next.Metageneration)
		}
	}
}

func testPatchMerges(t *testing.T, f *fixture) {
	ctx := t.Context()
	made := f.create(t, "o", "x", withMetadata(map[string]string{"a": "1", "b": "2"}), func(w *storage.Writer) {
		w.ContentType = "text/x-test"
	})
	o := f.object("o")
	for i, step := range [...]struct {
		set, want map[string]string
	}{
		{map[string]string{"b": "3", "c": "4"}, map[string]string{"a": "1", "b": "3", "c": "4"}},
		{map[string]string{"a": ""}, map[string]string{"a": "", "b": "3", "c": "4"}},
		{map[string]string{}, nil},
		{map[string]string{"d": "5"}, map[string]string{"d": "5"}},
	} {
		a, err := patch(ctx, o, step.set)
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(a.Metadata, step.want) {
			t.Errorf("after a patch with %v: %v, want %v", step.set, a.Metadata, step.want)
		}
		if a.Generation != made.Generation || a.Metageneration != int64(i+2) || a.ContentType != "text/x-test" {
			t.Errorf("after patch %d: version %s, content type %q", i, version(a), a.ContentType)
		}
	}
	a, err := update(ctx, o, storage.ObjectAttrsToUpdate{ContentType: "text/y", CacheControl: "no-cache"})
	if err != nil || a.ContentType != "text/y" || a.CacheControl != "no-cache" || a.Metadata["d"] != "5" {
		t.Errorf("after a patch of other attributes: %+v, %v", a, err)
	}
}

func testMetadataLimit(t *testing.T, f *fixture) {
	ctx := t.Context()
	fits := map[string]string{"k": strings.Repeat("x", 8<<10-1)}
	f.create(t, "o", "", withMetadata(fits))
	_, err := write(ctx, f.object("p"), "", withMetadata(map[string]string{"k": fits["k"] + "x"}))
	wantCode(t, "create with too much metadata", err, http.StatusBadRequest)
	_, err = patch(ctx, f.object("o"), map[string]string{"l": "y"})
	wantCode(t, "patch to too much metadata", err, http.StatusBadRequest)
}

func testHolds(t *testing.T, f *fixture) {
	f.testHold(t, "temporary", func(on bool) storage.ObjectAttrsToUpdate {
		return storage.ObjectAttrsToUpdate{TemporaryHold: on}
	})
	f.testHold(t, "event-based", func(on bool) storage.ObjectAttrsToUpdate {
		return storage.ObjectAttrsToUpdate{EventBasedHold: on}
	})
}

func (f *fixture) testHold(t *testing.T, name string, set func(on bool) storage.ObjectAttrsToUpdate) {
	ctx, o := t.Context(), f.object(name)
	f.create(t, name, "x")
	if _, err := update(ctx, o, set(true)); err != nil {
		t.Fatal(err)
	}
	// Whatever happens, the object must not stay behind for good.
	defer func() {
		if _, err := update(ctx, o, set(false)); err != nil {
			t.Errorf("clearing the %s hold: %v", name, err)
		}
		if err := remove(ctx, o); err != nil {
			t.Errorf("delete without the %s hold: %v", name, err)
		}
	}()
	wantCode(t, "delete under a "+name+" hold", remove(ctx, o), http.StatusForbidden)
	_, err := write(ctx, o, "y")
	wantCode(t, "overwrite under a "+name+" hold", err, http.StatusForbidden)
	if _, err := patch(ctx, o, map[string]string{"k": "v"}); err != nil {
		t.Errorf("patch under a %s hold: %v", name, err)
	}
}

func testNotFound(t *testing.T, f *fixture) {
	ctx := t.Context()
	_, err := f.object("o").Attrs(ctx)
	wantMissing(t, "attrs", err, "object")
	_, err = patch(ctx, f.object("o"), map[string]string{"k": "v"})
	wantMissing(t, "patch", err, "object")
	wantMissing(t, "delete", remove(ctx, f.object("o")), "object")
	wantMissing(t, "conditional delete",
		remove(ctx, f.object("o").If(storage.Conditions{GenerationMatch: 1})), "object")
	_, err = f.object("o").NewReader(ctx)
	if !errors.Is(err, storage.ErrObjectNotExist) {
		t.Errorf("read: got %v, want that there is no object", err)
	}

	none := f.Client.Bucket(strings.ToLower("gcstest-none-" + f.prefix[len(f.prefix)-27:len(f.prefix)-1]))
	_, err = write(ctx, none.Object("o"), "x")
	wantMissing(t, "create in no bucket", err, "bucket")
	_, err = none.Object("o").Attrs(ctx)
	wantMissing(t, "attrs in no bucket", err, "bucket")
	_, err = patch(ctx, none.Object("o"), map[string]string{"k": "v"})
	wantMissing(t, "patch in no bucket", err, "bucket")
	wantMissing(t, "delete in no bucket", remove(ctx, none.Object("o")), "bucket")
	_, err = none.Objects(ctx, nil).Next()
	wantMissing(t, "listing of no bucket", err, "bucket")
	_, err = none.Attrs(ctx)
	wantMissing(t, "attrs of no bucket", err, "bucket")
}

// wantMissing fails the test if the error does not say that an object, or a
// bucket, is missing. For some calls only the message tells which.
func wantMissing(t *testing.T, what string, err error, missing string) {
	t.Helper()
	wantCode(t, what, err, http.StatusNotFound)
	if err == nil {
		return
	}
	if says := strings.Contains(err.Error(), "specified bucket does not exist"); says != (missing == "bucket") {
		t.Errorf("%s: %q does not tell that the %s is missing", what, err, missing)
	}
}

func testHostileNames(t *testing.T, f *fixture) {
	ctx := t.Context()
	names := []string{
		"with space", "a/b/c", "a//b", "/leading", "trailing/", "..", ".", "a/../b", "a/./b", "%", "%2F", "%2f..", "100%",
		"#", "a#b", "?", "a?b=c&d", "a+b", "a=b;c", "a:b", "a@b", "\\", `"quoted"`, "'", "<&>", "*[x]?", "{}",
		"日本語", "ü\u0301", "\u200b", "🔒", "\x01\x7f", "o/n", strings.Repeat("x", 900),
	}
	for _, name := range names {
		made := f.create(t, name, name)
		got, err := f.object(name).Attrs(ctx)
		if err != nil || got.Generation != made.Generation || got.Name != f.prefix+name {
			t.Errorf("attrs of %q: %v, %v", name, got, err)
		}
		if content := f.read(t, name); content != name {
			t.Errorf("content of %q: %q", name, content)
		}
		if _, err := patch(ctx, f.object(name), map[string]string{"k": name}); err != nil {
			t.Errorf("patch of %q: %v", name, err)
		}
	}
	listed := make(map[string]bool)
	for _, name := range f.names(t, storage.Query{}, 7) {
		listed[name] = true
	}
	for _, name := range names {
		if !listed[name] {
			t.Errorf("%q is not listed", name)
		}
		if err := remove(ctx, f.object(name)); err != nil {
			t.Errorf("delete of %q: %v", name, err)
		}
	}
	if len(listed) != len(names) {
		t.Errorf("%d names are listed, want %d", len(listed), len(names))
	}
}

func testInvalidNames(t *testing.T, f *fixture) {
	for _, name := range [...]string{".", "..", ".well-known/acme-challenge/x", "a\nb", "a\rb", strings.Repeat("x", 1025)} {
		_, err := write(t.Context(), f.bucket.Object(name), "x")
		wantCode(t, "create of "+name, err, http.StatusBadRequest)
	}
}
