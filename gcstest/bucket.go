package gcstest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// BucketConfig describes a bucket of a [Server]. The zero BucketConfig is a
// regional bucket without any of the features that leave copies behind.
type BucketConfig struct {
	Location     string // US-EAST1 if empty
	StorageClass string // of new objects; STANDARD if empty

	// RetentionPeriod is the age before which no object can be deleted or
	// overwritten. Its metadata can be changed.
	RetentionPeriod time.Duration

	// Versioning and SoftDelete are only reported: the server never keeps a
	// version that is not live.
	Versioning bool
	SoftDelete time.Duration

	// DeleteAfter, in days, and DeletePrefix are only reported, as a lifecycle
	// rule, and so are PreventPublic and UniformAccess.
	DeleteAfter                  int
	DeletePrefix                 string
	PreventPublic, UniformAccess bool

	// DenyWrite refuses every request that changes an object, DenyAll every
	// request, with status 403. Deny refuses those that need one of the
	// permissions, such as "storage.objects.list".
	DenyWrite, DenyAll bool
	Deny               []string
}

// allows reports whether the caller has a permission, which for some changes an
// object.
func (c *BucketConfig) allows(permission string, write bool) bool {
	return !c.DenyAll && !(c.DenyWrite && write) && !slices.Contains(c.Deny, permission)
}

func (c *BucketConfig) class() string {
	if c.StorageClass == "" {
		return "STANDARD"
	}
	return c.StorageClass
}

func (c *BucketConfig) location() string {
	if c.Location == "" {
		return "US-EAST1"
	}
	return strings.ToUpper(c.Location)
}

// bucketJSON is the JSON form of a bucket, both ways.
type bucketJSON struct {
	Kind            string           `json:"kind"`
	ID              string           `json:"id"`
	Name            string           `json:"name"`
	Metageneration  int64            `json:"metageneration,string"`
	Location        string           `json:"location"`
	LocationType    string           `json:"locationType"`
	StorageClass    string           `json:"storageClass"`
	TimeCreated     string           `json:"timeCreated"`
	Updated         string           `json:"updated"`
	Versioning      *enabledJSON     `json:"versioning,omitempty"`
	SoftDelete      *softDeleteJSON  `json:"softDeletePolicy,omitempty"`
	RetentionPolicy *retentionPolicy `json:"retentionPolicy,omitempty"`
	IAM             *iamJSON         `json:"iamConfiguration,omitempty"`
	Lifecycle       *lifecycleJSON   `json:"lifecycle,omitempty"`
}

type iamJSON struct {
	Uniform       enabledJSON `json:"uniformBucketLevelAccess"`
	PreventPublic string      `json:"publicAccessPrevention"`
}

type lifecycleJSON struct {
	Rules []lifecycleRule `json:"rule"`
}

type lifecycleRule struct {
	Action struct {
		Type string `json:"type"`
	} `json:"action"`
	Condition struct {
		Age      int      `json:"age"`
		Prefixes []string `json:"matchesPrefix,omitempty"`
	} `json:"condition"`
}

type enabledJSON struct {
	Enabled bool `json:"enabled"`
}

type softDeleteJSON struct {
	Seconds int64 `json:"retentionDurationSeconds,string"`
}

type retentionPolicy struct {
	Seconds   int64  `json:"retentionPeriod,string"`
	Effective string `json:"effectiveTime,omitempty"`
}

func (b *bucket) answer() *bucketJSON {
	a := &bucketJSON{
		Kind: "storage#bucket", ID: b.name, Name: b.name, Metageneration: b.metageneration,
		Location: b.location(), LocationType: "region", StorageClass: b.class(),
		TimeCreated: stamp(b.created), Updated: stamp(b.updated),
		SoftDelete: &softDeleteJSON{int64(b.SoftDelete / time.Second)},
	}
	if !strings.Contains(a.Location, "-") {
		a.LocationType = "multi-region"
	}
	if b.Versioning {
		a.Versioning = &enabledJSON{true}
	}
	if b.RetentionPeriod > 0 {
		a.RetentionPolicy = &retentionPolicy{int64(b.RetentionPeriod / time.Second), a.Updated}
	}
	a.IAM = &iamJSON{Uniform: enabledJSON{b.UniformAccess}, PreventPublic: "inherited"}
	if b.PreventPublic {
		a.IAM.PreventPublic = "enforced"
	}
	if b.DeleteAfter > 0 {
		var rule lifecycleRule
		rule.Action.Type, rule.Condition.Age = "Delete", b.DeleteAfter
		if b.DeletePrefix != "" {
			rule.Condition.Prefixes = []string{b.DeletePrefix}
		}
		a.Lifecycle = &lifecycleJSON{[]lifecycleRule{rule}}
	}
	return a
}

// config reads the configuration that a request to create a bucket asks for.
func (j *bucketJSON) config() BucketConfig {
	cfg := BucketConfig{Location: j.Location, StorageClass: j.StorageClass}
	if j.Versioning != nil {
		cfg.Versioning = j.Versioning.Enabled
	}
	if j.SoftDelete != nil {
		cfg.SoftDelete = time.Duration(j.SoftDelete.Seconds) * time.Second
	}
	if j.RetentionPolicy != nil {
		cfg.RetentionPeriod = time.Duration(j.RetentionPolicy.Seconds) * time.Second
	}
	return cfg
}

// testPermissions tells which of the permissions the caller has.
func (st *store) testPermissions(c *call, _ time.Time) outcome {
	b := st.buckets[c.bucket]
	if b == nil {
		return failed(noBucket())
	}
	has := []string{}
	for _, p := range c.query["permissions"] {
		write := p != "storage.buckets.get" && p != "storage.objects.get" && p != "storage.objects.list"
		if b.allows(p, write) {
			has = append(has, p)
		}
	}
	return outcome{permissions: has}
}

// createBucket creates a bucket at a caller's request.
func (st *store) createBucket(c *call, now time.Time) outcome {
	if st.buckets[c.bucket] != nil {
		return failed(fail(http.StatusConflict, "conflict",
			"Your previous request to create the named bucket succeeded and you already own it."))
	}
	return outcome{bucket: st.configure(c.bucket, c.config, now).copyOf()}
}

// getBucket reads the attributes of a bucket.
func (st *store) getBucket(c *call, _ time.Time) outcome {
	b, err := st.open(c, "storage.buckets.get", false)
	if err != nil {
		return failed(err)
	}
	if err := c.conds.check(0, b.metageneration, true); err != nil {
		return failed(err)
	}
	return outcome{bucket: b.copyOf()}
}

// deleteBucket removes a bucket that is empty.
func (st *store) deleteBucket(c *call, _ time.Time) outcome {
	b, err := st.open(c, "storage.buckets.delete", true)
	if err != nil {
		return failed(err)
	}
	if err := c.conds.check(0, b.metageneration, false); err != nil {
		return failed(err)
	}
	if len(b.objects) > 0 {
		return failed(fail(http.StatusConflict, "conflict", "The bucket you tried to delete is not empty."))
	}
	delete(st.buckets, c.bucket)
	return outcome{}
}

// listBuckets returns all buckets by name, on one page.
func (st *store) listBuckets(*call, time.Time) outcome {
	list := make([]*bucket, 0, len(st.buckets))
	for _, b := range st.buckets {
		list = append(list, b.copyOf())
	}
	slices.SortFunc(list, func(a, b *bucket) int { return strings.Compare(a.name, b.name) })
	return outcome{list: list}
}
