package conformance

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"
)

func (f *fixture) fill(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		f.create(t, name, "")
	}
}

func wantNames(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: listed %q, want %q", what, got, want)
	}
}

func testListPages(t *testing.T, f *fixture) {
	var want []string
	for i := range 23 {
		want = append(want, fmt.Sprintf("o-%02d", i))
	}
	for i := range want { // not in order
		f.fill(t, want[i*7%len(want)])
	}
	for _, size := range [...]int{0, 1, 2, 22, 23, 24} {
		wantNames(t, fmt.Sprintf("pages of %d", size), f.names(t, storage.Query{}, size), want...)
	}

	it := f.bucket.Objects(t.Context(), &storage.Query{Prefix: f.prefix})
	var page []*storage.ObjectAttrs
	token, err := iterator.NewPager(it, 5, "").NextPage(&page)
	if err != nil || len(page) != 5 || token == "" {
		t.Fatalf("a page of 5 had %d objects, %v", len(page), err)
	}
	// What is deleted and created between two pages does not move the others.
	if err := remove(t.Context(), f.object("o-04")); err != nil {
		t.Fatal(err)
	}
	f.fill(t, "o-00-late", "o-05-new")
	page = nil
	it = f.bucket.Objects(t.Context(), &storage.Query{Prefix: f.prefix})
	if _, err := iterator.NewPager(it, 3, token).NextPage(&page); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range page {
		got = append(got, a.Name[len(f.prefix):])
	}
	wantNames(t, "second page", got, "o-05", "o-05-new", "o-06")
}

func testListRange(t *testing.T, f *fixture) {
	f.fill(t, "a", "b", "b/1", "b/2", "ba", "c", "é", "z")
	for _, c := range [...]struct {
		q    storage.Query
		want []string
	}{
		{storage.Query{}, []string{"a", "b", "b/1", "b/2", "ba", "c", "z", "é"}}, // by bytes, not by letters
		{storage.Query{Prefix: "b"}, []string{"b", "b/1", "b/2", "ba"}},
		{storage.Query{Prefix: "b/"}, []string{"b/1", "b/2"}},
		{storage.Query{Prefix: "x"}, nil},
		{storage.Query{StartOffset: "b/2"}, []string{"b/2", "ba", "c", "z", "é"}},
		{storage.Query{EndOffset: "b/2"}, []string{"a", "b", "b/1"}},
		{storage.Query{StartOffset: "b", EndOffset: "c"}, []string{"b", "b/1", "b/2", "ba"}},
		{storage.Query{StartOffset: "c", EndOffset: "b"}, nil},
		{storage.Query{Prefix: "b", StartOffset: "b/15"}, []string{"b/2", "ba"}},
	} {
		for _, size := range [...]int{0, 1} {
			wantNames(t, fmt.Sprintf("%+v", c.q), f.names(t, c.q, size), c.want...)
		}
	}
}

func testListDelimiter(t *testing.T, f *fixture) {
	f.fill(t, "a", "b/1", "b/2", "b/c/3", "d", "e/4", "e/")
	for _, c := range [...]struct {
		q    storage.Query
		want []string
	}{
		{storage.Query{Delimiter: "/"}, []string{"a", "b/", "d", "e/"}},
		{storage.Query{Delimiter: "/", Prefix: "b"}, []string{"b/"}},
		{storage.Query{Delimiter: "/", Prefix: "b/"}, []string{"b/1", "b/2", "b/c/"}},
		{storage.Query{Delimiter: "/", Prefix: "e/"}, []string{"e/", "e/4"}},
		{storage.Query{Delimiter: "/c/"}, []string{"a", "b/1", "b/2", "b/c/", "d", "e/", "e/4"}},
	} {
		for _, size := range [...]int{0, 1, 2} {
			got := f.names(t, c.q, size)
			slices.Sort(got) // a page has its prefixes after its objects
			wantNames(t, fmt.Sprintf("%+v by %d", c.q, size), got, c.want...)
		}
	}
}

func testConsistency(t *testing.T, f *fixture) {
	ctx := t.Context()
	for i := range 5 {
		name := fmt.Sprintf("o-%d", i)
		f.fill(t, name)
		wantNames(t, "after create", f.names(t, storage.Query{}, 0), name)
		for j := range 3 {
			want, err := patch(ctx, f.object(name), map[string]string{"j": fmt.Sprint(j)})
			if err != nil {
				t.Fatal(err)
			}
			got, err := f.object(name).Attrs(ctx)
			if err != nil || version(got) != version(want) || got.Metadata["j"] != fmt.Sprint(j) {
				t.Errorf("after patch to %s: %+v, %v", version(want), got, err)
			}
			a, err := f.bucket.Objects(ctx, &storage.Query{Prefix: f.prefix}).Next()
			if err != nil || version(a) != version(want) {
				t.Errorf("listing after patch to %s: %+v, %v", version(want), a, err)
			}
		}
		if err := remove(ctx, f.object(name)); err != nil {
			t.Fatal(err)
		}
		if _, err := f.object(name).Attrs(ctx); !errors.Is(err, storage.ErrObjectNotExist) {
			t.Errorf("attrs after delete: %v", err)
		}
		wantNames(t, "after delete", f.names(t, storage.Query{}, 0))
	}
}

func testBucketAttributes(t *testing.T, f *fixture) {
	a, err := f.bucket.Attrs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a.Name != f.Bucket || a.MetaGeneration < 1 || a.Location == "" || a.StorageClass == "" || a.Created.IsZero() {
		t.Errorf("attributes of the bucket: %+v", a)
	}
}
