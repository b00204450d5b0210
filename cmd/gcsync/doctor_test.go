//go:build unix

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/gcsync/gcsync/gcstest"
)

// The doctor finds what is wrong with a bucket, says what to do, and leaves nothing behind.
func TestDoctor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := gcstest.BucketConfig{PreventPublic: true, UniformAccess: true}
	for _, c := range []struct {
		what    string
		change  func(*gcstest.BucketConfig)
		verdict string // the beginning of a line; empty: all is well
		advice  string
	}{
		{"good", func(*gcstest.BucketConfig) {}, "", ""},
		{"no create", func(c *gcstest.BucketConfig) { c.Deny = []string{"storage.objects.create"} }, "FAIL  permissions", "roles/storage.objectUser"},
		{"no list", func(c *gcstest.BucketConfig) { c.Deny = []string{"storage.objects.list"} }, "FAIL  permissions", "missing: storage.objects.list;"},
		{"no settings", func(c *gcstest.BucketConfig) { c.Deny = []string{"storage.buckets.get"} }, "warn  settings", "storage.buckets.get"},
		{"read only", func(c *gcstest.BucketConfig) { c.DenyWrite = true }, "FAIL  lock", "storage.objects.create"},
		{"multi-region", func(c *gcstest.BucketConfig) { c.Location = "EU" }, "warn  location", "regional bucket"},
		{"class", func(c *gcstest.BucketConfig) { c.StorageClass = "NEARLINE" }, "warn  class", "--default-storage-class=STANDARD"},
		{"soft delete", func(c *gcstest.BucketConfig) { c.SoftDelete = 7 * 24 * time.Hour }, "warn  soft delete", "--clear-soft-delete"},
		{"versioning", func(c *gcstest.BucketConfig) { c.Versioning = true }, "warn  versioning", "--no-versioning"},
		{"retention", func(c *gcstest.BucketConfig) { c.RetentionPeriod = time.Minute }, "FAIL  retention", "--clear-retention-period"},
		{"lifecycle", func(c *gcstest.BucketConfig) { c.DeleteAfter = 7 }, "FAIL  lifecycle", "matchesPrefix"},
		{"lifecycle of ours", func(c *gcstest.BucketConfig) { c.DeleteAfter, c.DeletePrefix = 7, "gc" }, "FAIL  lifecycle", "matchesPrefix"},
		{"lifecycle elsewhere", func(c *gcstest.BucketConfig) { c.DeleteAfter, c.DeletePrefix = 7, "tmp/" }, "", ""},
		{"public", func(c *gcstest.BucketConfig) { c.PreventPublic = false }, "warn  public", "--public-access-prevention"},
		{"lists", func(c *gcstest.BucketConfig) { c.UniformAccess = false }, "warn  access", "--uniform-bucket-level-access"},
	} {
		name := "doc-" + strings.ReplaceAll(c.what, " ", "-")
		config := good
		c.change(&config)
		w.server.CreateBucket(name, config)
		r := w.gcsync("doctor", "gs://"+name)
		wantCode := 0
		if strings.HasPrefix(c.verdict, "FAIL") {
			wantCode = exitProblem
		}
		if r.code != wantCode || r.stderr != "" {
			t.Errorf("%s: exit code %d, want %d: %s%s", c.what, r.code, wantCode, r.stdout, r.stderr)
		}
		found := c.verdict == ""
		for line := range strings.Lines(r.stdout) {
			if c.verdict == "" && !strings.HasPrefix(line, "ok ") {
				t.Errorf("%s: %s", c.what, line)
			}
			if c.verdict != "" && strings.HasPrefix(line, c.verdict) {
				found = found || strings.Contains(line, c.advice)
			}
		}
		if !found {
			t.Errorf("%s: no line %q with %q: %s", c.what, c.verdict, c.advice, r.stdout)
		}
		if left := w.server.Objects(name, ""); config.RetentionPeriod == 0 && len(left) != 0 {
			t.Errorf("%s: left behind: %+v", c.what, left)
		}
	}
	if r := w.gcsync("doctor", "gs://no-such-bucket"); r.code != exitProblem || !strings.Contains(r.stdout, "FAIL  bucket") || !strings.Contains(r.stdout, "create it") {
		t.Errorf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
	}
}
