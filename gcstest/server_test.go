package gcstest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/storage"
	"github.com/gcsync/gcsync/gcstest"
)

func stringBody(s string) io.Reader {
	if s == "" {
		return nil
	}
	return strings.NewReader(s)
}

// TestRequestIsNotUndone checks that a request takes effect although its caller
// has left, and that Close waits for it.
func TestRequestIsNotUndone(t *testing.T) {
	inBubble(t, gcstest.Model{Median: time.Second}, func(t *testing.T, w *world) {
		bucket := never(w.server.Client(nil).Bucket("b"))
		err := put(within(t, 10*time.Millisecond), bucket.Object("o"), nil)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want that the deadline was exceeded", err)
		}
		w.wantElapsed(t, 10*time.Millisecond)
		if w.exists("o") {
			t.Error("the request was carried out too early")
		}
		w.server.Close()
		w.wantElapsed(t, time.Second)
		if !w.exists("o") {
			t.Error("the request was undone")
		}
		if err := put(t.Context(), bucket.Object("p"), nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: got %v", err)
		}
	})
}

// TestUnsentRequest checks that a request whose body never came to its end has
// no effect.
func TestUnsentRequest(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		wr := w.server.Client(nil).Bucket("b").Object("o").NewWriter(ctx)
		wr.ChunkSize = 0
		if _, err := io.WriteString(wr, "half"); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := wr.Close(); err == nil {
			t.Error("Close of a cancelled upload succeeded")
		}
		w.server.Close()
		if w.exists("o") {
			t.Error("half an upload made an object")
		}
	})
}

func TestPermissions(t *testing.T) {
	s := gcstest.New(gcstest.Model{})
	defer s.Close()
	s.CreateBucket("b", gcstest.BucketConfig{})
	o := never(s.Client(nil).Bucket("b")).Object("o")
	if err := put(t.Context(), o, nil); err != nil {
		t.Fatal(err)
	}
	s.CreateBucket("b", gcstest.BucketConfig{DenyWrite: true})
	wantStatus(t, "write", put(t.Context(), o, nil), http.StatusForbidden)
	wantStatus(t, "delete", o.Delete(t.Context()), http.StatusForbidden)
	_, err := o.Attrs(t.Context())
	wantStatus(t, "read", err, 0)
	s.CreateBucket("b", gcstest.BucketConfig{DenyAll: true})
	_, err = o.Attrs(t.Context())
	wantStatus(t, "read", err, http.StatusForbidden)
}

func TestRetentionPolicy(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(t *testing.T, w *world) {
		w.server.CreateBucket("b", gcstest.BucketConfig{RetentionPeriod: time.Hour})
		w.mustPut(t, "o")
		o := w.bucket.Object("o")
		time.Sleep(time.Hour - time.Millisecond)
		wantStatus(t, "delete", o.Delete(t.Context()), http.StatusForbidden)
		wantStatus(t, "overwrite", put(t.Context(), o, nil), http.StatusForbidden)
		a, err := o.Update(t.Context(), storage.ObjectAttrsToUpdate{Metadata: map[string]string{"k": "v"}})
		if err != nil || !a.RetentionExpirationTime.Equal(w.start.Add(time.Hour)) {
			t.Errorf("patch: %+v, %v", a, err)
		}
		b, err := w.bucket.Attrs(t.Context())
		if err != nil || b.RetentionPolicy == nil || b.RetentionPolicy.RetentionPeriod != time.Hour {
			t.Errorf("bucket: %+v, %v", b, err)
		}
		time.Sleep(time.Millisecond)
		wantStatus(t, "delete after the period", o.Delete(t.Context()), 0)
	})
}

func TestObjectRetention(t *testing.T) {
	inBubble(t, gcstest.Model{}, func(t *testing.T, w *world) {
		w.mustPut(t, "o")
		o := w.bucket.Object("o")
		set := func(o *storage.ObjectHandle, mode string, d time.Duration) error {
			r := &storage.ObjectRetention{}
			if mode != "" {
				r = &storage.ObjectRetention{Mode: mode, RetainUntil: w.start.Add(d)}
			}
			_, err := o.Update(t.Context(), storage.ObjectAttrsToUpdate{Retention: r})
			return err
		}
		wantStatus(t, "set", set(o, "Unlocked", time.Hour), 0)
		wantStatus(t, "delete", o.Delete(t.Context()), http.StatusForbidden)
		wantStatus(t, "shorten", set(o, "Unlocked", time.Minute), http.StatusForbidden)
		wantStatus(t, "remove", set(o, "", 0), http.StatusForbidden)
		wantStatus(t, "override", set(o.OverrideUnlockedRetention(true), "", 0), 0)
		wantStatus(t, "lock", set(o, "Locked", time.Hour), 0)
		wantStatus(t, "override", set(o.OverrideUnlockedRetention(true), "", 0), http.StatusForbidden)
		wantStatus(t, "extend", set(o, "Locked", 2*time.Hour), 0)
		time.Sleep(2 * time.Hour)
		wantStatus(t, "delete", o.Delete(t.Context()), 0)
	})
}

func TestUpdateReplaces(t *testing.T) {
	s := gcstest.New(gcstest.Model{})
	defer s.Close()
	s.CreateBucket("b", gcstest.BucketConfig{})
	if err := put(t.Context(), s.Client(nil).Bucket("b").Object("o"), map[string]string{"a": "1"}); err != nil {
		t.Fatal(err)
	}
	code, body := do(t, s, http.MethodPut, "/storage/v1/b/b/o/o?ifMetagenerationMatch=1", `{"metadata":{"b":"2"}}`)
	o := s.Objects("b", "")[0]
	if code != http.StatusOK || o.Metageneration != 2 || !maps.Equal(o.Metadata, map[string]string{"b": "2"}) {
		t.Errorf("update: %d %s made %+v", code, body, o)
	}
	code, _ = do(t, s, http.MethodPut, "/storage/v1/b/b/o/o?ifMetagenerationMatch=1", `{}`)
	if code != http.StatusPreconditionFailed {
		t.Errorf("update of an old metageneration: %d", code)
	}
	code, _ = do(t, s, http.MethodPatch, "/storage/v1/b/b/o/o", `{"metadata":{"b":null,"c":"3"}}`)
	if o := s.Objects("b", "")[0]; code != http.StatusOK || !maps.Equal(o.Metadata, map[string]string{"c": "3"}) {
		t.Errorf("patch with null: %d made %+v", code, o)
	}
}

// TestErrorBody checks the form that clients take errors apart in.
func TestErrorBody(t *testing.T) {
	s := gcstest.New(gcstest.Model{})
	defer s.Close()
	s.CreateBucket("b", gcstest.BucketConfig{})
	upload := "/upload/storage/v1/b/b/o?uploadType=media&name=o"
	if code, _ := do(t, s, http.MethodPost, upload, "x"); code != http.StatusOK {
		t.Fatal(code)
	}
	for _, c := range [...]struct {
		method, path string
		code         int
		reason       string
	}{
		{http.MethodPost, upload + "&ifGenerationMatch=0", 412, "conditionNotMet"},
		{http.MethodPost, upload + "&ifGenerationMatch=-1", 400, "invalid"},
		{http.MethodPost, upload + "&ifGenerationMatch=x", 400, "invalid"},
		{http.MethodPost, "/upload/storage/v1/b/b/o?uploadType=media", 400, "required"},
		{http.MethodPost, "/upload/storage/v1/b/b/o?uploadType=carrier-pigeon&name=o", 400, "invalid"},
		{http.MethodPost, "/upload/storage/v1/b/b/o?uploadType=multipart&name=o", 400, "invalid"},
		{http.MethodPatch, "/storage/v1/b/b/o/o", 400, "parseError"},
		{http.MethodGet, "/storage/v1/b/b/o/none", 404, "notFound"},
		{http.MethodGet, "/storage/v1/b/none/o/o", 404, "notFound"},
		{http.MethodGet, "/storage/v1/b/b/o?pageToken=x", 400, "invalid"},
		{http.MethodGet, "/storage/v1/b/b/o?versions=true", 501, "notImplemented"},
		{http.MethodGet, "/storage/v1/b/b/o?matchGlob=*", 501, "notImplemented"},
		{http.MethodPost, "/storage/v1/b/b/o/o/rewriteTo/b/b/o/p", 501, "notImplemented"},
		{http.MethodGet, "/storage/v1/b/b/acl", 501, "notImplemented"},
		{http.MethodPut, "/b/o", 501, ""},
		{http.MethodGet, "/", 501, ""},
	} {
		code, body := do(t, s, c.method, c.path, "garbage")
		if code != c.code {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, code, c.code)
		}
		if c.reason == "" {
			continue // of the XML API
		}
		var e struct {
			Error struct {
				Code    int
				Message string
				Errors  []struct{ Reason, Domain, Message string }
			}
		}
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Errorf("%s %s: %v", c.method, c.path, err)
			continue
		}
		if e.Error.Code != c.code || e.Error.Message == "" || len(e.Error.Errors) != 1 || e.Error.Errors[0].Reason != c.reason {
			t.Errorf("%s %s: %+v, want reason %q", c.method, c.path, e.Error, c.reason)
		}
	}
}

func TestBuckets(t *testing.T) {
	s := gcstest.New(gcstest.Model{})
	defer s.Close()
	ctx, c := t.Context(), s.Client(nil)
	b := never(c.Bucket("made"))
	if err := b.Create(ctx, "project", &storage.BucketAttrs{Location: "eu", VersioningEnabled: true}); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, "second create", b.Create(ctx, "project", nil), http.StatusConflict)
	a, err := b.Attrs(ctx)
	if err != nil || a.Location != "EU" || a.LocationType != "multi-region" || !a.VersioningEnabled || a.StorageClass != "STANDARD" {
		t.Errorf("attributes %+v, %v", a, err)
	}
	_, err = b.If(storage.BucketConditions{MetagenerationMatch: 7}).Attrs(ctx)
	wantStatus(t, "attributes of another metageneration", err, http.StatusPreconditionFailed)
	if a, err := c.Buckets(ctx, "project").Next(); err != nil || a.Name != "made" {
		t.Errorf("listed %v, %v", a, err)
	}
	if err := put(ctx, b.Object("o"), nil); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, "delete of a full bucket", b.Delete(ctx), http.StatusConflict)
	wantStatus(t, "delete", b.Object("o").Delete(ctx), 0)
	wantStatus(t, "delete of an empty bucket", b.Delete(ctx), 0)
	_, err = b.Attrs(ctx)
	wantStatus(t, "attributes of nothing", err, http.StatusNotFound)
}

func TestStatsAndRecords(t *testing.T) {
	inBubble(t, gcstest.Model{Rate: 1, Median: 10 * time.Millisecond}, func(t *testing.T, w *world) {
		ctx := t.Context()
		var records []gcstest.Record
		w.server.Observe(func(r gcstest.Record) { records = append(records, r) })
		w.mustPut(t, "o")
		gen := w.server.Objects("b", "o")[0].Generation
		o := w.bucket.Object("o").If(storage.Conditions{GenerationMatch: gen, MetagenerationMatch: 1})
		patch := storage.ObjectAttrsToUpdate{Metadata: map[string]string{"k": "v"}}
		_, err := o.Update(ctx, patch)
		wantStatus(t, "patch at once", err, http.StatusTooManyRequests)
		time.Sleep(time.Second)
		_, err = o.Update(ctx, patch)
		wantStatus(t, "patch", err, 0)
		time.Sleep(time.Second)
		_, err = o.Update(ctx, patch)
		wantStatus(t, "old patch", err, http.StatusPreconditionFailed)
		wantStatus(t, "get", w.get(ctx, "o"), 0)
		wantStatus(t, "delete", w.bucket.Object("o").Delete(ctx), 0)

		if got := w.server.Stats(); got.ClassA != 2 || got.ClassB != 1 || got.Free != 3 || got.Failed != 2 ||
			got.Throttled != 1 || !maps.Equal(got.ByOp, map[string]int{"insert": 1, "patch": 3, "get": 1, "delete": 1}) {
			t.Errorf("stats %+v", got)
		}
		w.server.ResetStats()
		if got := w.server.Stats(); got.ClassA != 0 || len(got.ByOp) != 0 {
			t.Errorf("stats after a reset: %+v", got)
		}
		var statuses []int
		for _, r := range records {
			statuses = append(statuses, r.Status)
		}
		if !slices.Equal(statuses, []int{200, 429, 200, 412, 200, 204}) {
			t.Fatalf("observed statuses %v", statuses)
		}
		if r := records[0]; r.Kind != gcstest.Insert || r.Name != "o" || r.IfGeneration != 0 || r.IfMetageneration != -1 ||
			r.Generation != gen || r.Time.Before(w.start.Add(3*time.Millisecond)) || r.Time.After(w.start.Add(7*time.Millisecond)) {
			t.Errorf("record of the create: %+v", r)
		}
		if r := records[2]; r.IfGeneration != gen || r.IfMetageneration != 1 || r.Metageneration != 2 || r.Metadata["k"] != "v" {
			t.Errorf("record of the patch: %+v", r)
		}
	})
}

// TestConcurrentUse has everything happen at once, for the race detector.
func TestConcurrentUse(t *testing.T) {
	inBubble(t, gcstest.Model{Median: time.Millisecond, P99: 10 * time.Millisecond}, func(t *testing.T, w *world) {
		w.server.Observe(func(gcstest.Record) {})
		w.faults.Random(gcstest.Profile{Odds: map[gcstest.FaultKind]float64{
			gcstest.Duplicate: 0.2, gcstest.Ghost: 0.2, gcstest.Delay: 0.2, gcstest.LoseAnswer: 0.2,
		}, MaxDelay: 5 * time.Millisecond})
		for range 20 {
			go func() {
				for range 10 {
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
					_ = w.put(ctx, "o") // whatever comes of it
					_ = w.get(ctx, "o")
					_ = w.bucket.Object("o").Delete(ctx)
					_ = w.server.Objects("b", "")
					_ = w.server.Stats()
					cancel()
				}
			}()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		w.faults.Wait()
	})
}

// TestDoctor checks what a program asks that wants to know whether a bucket
// suits it.
func TestDoctor(t *testing.T) {
	s := gcstest.New(gcstest.Model{})
	defer s.Close()
	s.CreateBucket("b", gcstest.BucketConfig{
		Deny: []string{"storage.objects.list"}, DeleteAfter: 30, DeletePrefix: "tmp/", PreventPublic: true, UniformAccess: true,
	})
	b := never(s.Client(nil).Bucket("b"))
	asked := []string{"storage.objects.create", "storage.objects.list", "storage.objects.get"}
	has, err := b.IAM().TestPermissions(t.Context(), asked)
	if err != nil || !slices.Equal(has, []string{asked[0], asked[2]}) {
		t.Errorf("permissions: %v, %v", has, err)
	}
	_, err = b.Objects(t.Context(), nil).Next()
	wantStatus(t, "list", err, http.StatusForbidden)
	wantStatus(t, "write", put(t.Context(), b.Object("o"), nil), 0)
	a, err := b.Attrs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a.PublicAccessPrevention != storage.PublicAccessPreventionEnforced || !a.UniformBucketLevelAccess.Enabled {
		t.Errorf("access: %v, %v", a.PublicAccessPrevention, a.UniformBucketLevelAccess)
	}
	if r := a.Lifecycle.Rules; len(r) != 1 || r[0].Action.Type != storage.DeleteAction ||
		r[0].Condition.AgeInDays != 30 || !slices.Equal(r[0].Condition.MatchesPrefix, []string{"tmp/"}) {
		t.Errorf("lifecycle: %+v", r)
	}
	s.CreateBucket("b", gcstest.BucketConfig{DenyWrite: true})
	if has, err := b.IAM().TestPermissions(t.Context(), asked); err != nil || !slices.Equal(has, asked[1:]) {
		t.Errorf("permissions without writing: %v, %v", has, err)
	}
	_, err = never(s.Client(nil).Bucket("none")).IAM().TestPermissions(t.Context(), asked)
	wantStatus(t, "no bucket", err, http.StatusNotFound)
}
