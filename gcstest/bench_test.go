package gcstest_test

import (
	"testing"

	"cloud.google.com/go/storage"
	"github.com/gcsync/gcsync/gcstest"
)

// BenchmarkPatch measures what the server and the client cost together, with
// and without faults in between.
func BenchmarkPatch(b *testing.B) {
	for name, faults := range map[string]*gcstest.Faults{"direct": nil, "faults": gcstest.NewFaults(1)} {
		b.Run(name, func(b *testing.B) {
			s := gcstest.New(gcstest.Model{})
			defer s.Close()
			s.CreateBucket("b", gcstest.BucketConfig{})
			o := s.Client(faults).Bucket("b").Object("o")
			if err := put(b.Context(), o, nil); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				_, err := o.Update(b.Context(), storage.ObjectAttrsToUpdate{Metadata: map[string]string{"k": "v"}})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkServe measures the server alone.
func BenchmarkServe(b *testing.B) {
	s := gcstest.New(gcstest.Model{})
	defer s.Close()
	s.CreateBucket("b", gcstest.BucketConfig{})
	o := s.Client(nil).Bucket("b").Object("o")
	if err := put(b.Context(), o, map[string]string{"owner": "somebody"}); err != nil {
		b.Fatal(err)
	}
	rt := s.Transport()
	req := newGet(b, "o")
	b.ReportAllocs()
	for b.Loop() {
		rep, err := rt.RoundTrip(req)
		if err != nil || rep.StatusCode != 200 {
			b.Fatal(rep, err)
		}
	}
}
