package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"
)

var doctorCommand = &command{
	name:     "doctor",
	operands: []string{"gs://bucket"},
	about:    "Examines a bucket: permissions, settings, speed, and whether a lock works in it.",
	help: `
Each line begins with ok, warn or FAIL, and says what to do. The exit code is 1 if anything fails. The lock that it tries
out has a name of its own, which is removed again.

  gcsync doctor gs://my-bucket`,
	setup: func(f *flag.FlagSet) action {
		c := new(connection)
		c.register(f)
		c.registerHold(f)
		return func(ctx context.Context, a *app, operands, _ []string) error {
			t, err := parseBucket(operands[0])
			if err != nil {
				return err
			}
			return c.look(ctx, a, t, func(ctx context.Context) error {
				d := &doctor{connection: c}
				d.examine(ctx)
				if d.failed {
					return &failure{code: exitProblem}
				}
				return nil
			})
		}
	},
}

// doctor examines one bucket.
type doctor struct {
	*connection
	failed bool
}

func (d *doctor) line(verdict, what, format string, args ...any) {
	if verdict == "FAIL" {
		d.failed = true
	}
	fmt.Fprintf(d.a.stdout, "%-4s  %-12s  %s\n", verdict, what, oneLine(fmt.Sprintf(format, args...)))
}

func (d *doctor) examine(ctx context.Context) {
	if !d.permissions(ctx) {
		return
	}
	d.settings(ctx)
	d.latency(ctx)
	d.live(ctx)
}

// needed are the permissions that locks take.
var needed = []string{
	"storage.objects.create", "storage.objects.delete", "storage.objects.get", "storage.objects.list", "storage.objects.update",
}

// permissions reports false if the bucket is not there for us at all.
func (d *doctor) permissions(ctx context.Context) bool {
	asking, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	has, err := d.bucket.IAM().TestPermissions(asking, needed)
	if err != nil {
		if errors.Is(err, storage.ErrBucketNotExist) || strings.Contains(err.Error(), "bucket does not exist") {
			d.line("FAIL", "bucket", "%s is not there: create it (gcloud storage buckets create gs://%s --location=REGION "+
				"--uniform-bucket-level-access --public-access-prevention --soft-delete-duration=0), or correct its name", d.target, d.target.bucket)
		} else {
			d.line("FAIL", "bucket", "cannot be asked: check the credentials and the network: %v", err)
		}
		return false
	}
	var missing []string
	for _, p := range needed {
		if !slices.Contains(has, p) {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		d.line("FAIL", "permissions", "missing: %s; roles/storage.objectUser has them all: gcloud storage buckets "+
			"add-iam-policy-binding gs://%s --role=roles/storage.objectUser --member=PRINCIPAL", strings.Join(missing, ", "), d.target.bucket)
	} else {
		d.line("ok", "permissions", "create, delete, get, list and update objects")
	}
	return true
}

func (d *doctor) settings(ctx context.Context) {
	attrs, err := d.bucket.Attrs(ctx)
	if err != nil {
		d.line("warn", "settings", "cannot be read, which takes storage.buckets.get (roles/storage.bucketViewer): %v", err)
		return
	}
	update := "gcloud storage buckets update gs://" + d.target.bucket + " "
	if attrs.LocationType == "region" {
		d.line("ok", "location", "%s, a region; best if it is that of the clients", attrs.Location)
	} else {
		d.line("warn", "location", "%s, a %s: requests take longer than in a region; use a regional bucket near the clients", attrs.Location, attrs.LocationType)
	}
	if attrs.StorageClass == "STANDARD" {
		d.line("ok", "class", "STANDARD")
	} else {
		d.line("warn", "class", "%s charges more for requests, and for days that a lock's objects do not last: %s--default-storage-class=STANDARD", attrs.StorageClass, update)
	}
	if p := attrs.SoftDeletePolicy; p != nil && p.RetentionDuration > 0 {
		d.line("warn", "soft delete", "keeps what is deleted for %v, at your expense: %s--clear-soft-delete", p.RetentionDuration, update)
	} else {
		d.line("ok", "soft delete", "off")
	}
	if attrs.VersioningEnabled {
		d.line("warn", "versioning", "keeps every deleted ticket for ever: %s--no-versioning", update)
	} else {
		d.line("ok", "versioning", "off")
	}
	d.retention(attrs, update)
	d.lifecycle(attrs)
	if attrs.PublicAccessPrevention == storage.PublicAccessPreventionEnforced {
		d.line("ok", "public", "access is prevented")
	} else {
		d.line("warn", "public", "access is not prevented, and what is public may be cached, which locks cannot bear: %s--public-access-prevention", update)
	}
	if !attrs.UniformBucketLevelAccess.Enabled {
		d.line("warn", "access", "objects may have access lists of their own: %s--uniform-bucket-level-access", update)
	}
	if attrs.RequesterPays {
		d.line("FAIL", "requester", "the requester pays, which gcsync does not support: %s--no-requester-pays", update)
	}
}

func (d *doctor) retention(attrs *storage.BucketAttrs, update string) {
	switch {
	case attrs.RetentionPolicy != nil && attrs.RetentionPolicy.RetentionPeriod > 0:
		d.line("FAIL", "retention", "nothing can be deleted for %v, so no lock can be released: %s--clear-retention-period", attrs.RetentionPolicy.RetentionPeriod, update)
	case attrs.DefaultEventBasedHold:
		d.line("FAIL", "retention", "new objects are held, so no lock can be released: %s--no-default-event-based-hold", update)
	default:
		d.line("ok", "retention", "no policy")
	}
}

// lifecycle looks for rules that delete objects of ours. A tail is as old as the last use of its name, and while it is
// there numbers are not used twice.
func (d *doctor) lifecycle(attrs *storage.BucketAttrs) {
	for _, r := range attrs.Lifecycle.Rules {
		if r.Action.Type != storage.DeleteAction {
			continue
		}
		if r.Condition.Liveness == storage.Archived {
			continue // versions that are not live are of no use to anybody
		}
		if len(r.Condition.MatchesSuffix) > 0 {
			continue // the names of our objects end with a number
		}
		hit := len(r.Condition.MatchesPrefix) == 0
		for _, p := range r.Condition.MatchesPrefix {
			hit = hit || strings.HasPrefix(d.prefix, p) || strings.HasPrefix(p, d.prefix)
		}
		if hit {
			d.line("FAIL", "lifecycle", "a rule deletes objects below %s, locks in use among them: confine it with matchesPrefix, or use a bucket without it", d.prefix)
			return
		}
	}
	d.line("ok", "lifecycle", "no rule deletes objects below %s", d.prefix)
}

func (d *doctor) latency(ctx context.Context) {
	const looks = 11
	var took []time.Duration
	absent := d.bucket.Object(d.prefix + "doctor-" + rand.Text())
	for range looks {
		begun := time.Now()
		if _, err := absent.Attrs(ctx); !errors.Is(err, storage.ErrObjectNotExist) {
			d.line("FAIL", "latency", "a read of nothing came to: %v", err)
			return
		}
		took = append(took, time.Since(begun).Round(100*time.Microsecond))
	}
	took = took[1:] // the first has opened the connection
	slices.Sort(took)
	median, worst := took[len(took)/2], took[len(took)-1]
	if median > 200*time.Millisecond {
		d.line("warn", "latency", "%v median, %v worst of %d reads: each hand-off takes about that; use a bucket nearer to the clients", median, worst, len(took))
	} else {
		d.line("ok", "latency", "%v median, %v worst of %d reads", median, worst, len(took))
	}
}

// live locks and unlocks a name that nobody else has, and removes it.
func (d *doctor) live(ctx context.Context) {
	name := "doctor-" + rand.Text()
	m := d.client.Mutex(name)
	begun := time.Now()
	if err := m.Lock(ctx); err != nil {
		d.line("FAIL", "lock", "%v", err)
		return
	}
	locked := time.Now()
	if err := m.Unlock(ctx); err != nil {
		d.line("FAIL", "unlock", "%v", err)
		return
	}
	d.line("ok", "lock", "locked in %v, unlocked in %v", locked.Sub(begun).Round(100*time.Microsecond), time.Since(locked).Round(100*time.Microsecond))
	if err := d.sweep(ctx, d.prefix+name+"/"); err != nil {
		d.line("warn", "sweep", "an object is left below %s%s/: delete it: %v", d.prefix, name, err)
	}
}

// sweep deletes what is below prefix.
func (d *doctor) sweep(ctx context.Context, prefix string) error {
	bucket := d.bucket.Retryer(storage.WithPolicy(storage.RetryAlways))
	all := bucket.Objects(ctx, &storage.Query{Prefix: prefix})
	for {
		o, err := all.Next()
		if err != nil {
			if errors.Is(err, iterator.Done) {
				return nil
			}
			return err
		}
		if err := bucket.Object(o.Name).Delete(ctx); err != nil && !errors.Is(err, storage.ErrObjectNotExist) {
			return err
		}
	}
}
