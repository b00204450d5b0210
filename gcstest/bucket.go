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

	// DenyWrite refuses every request that changes an object, DenyAll every
	// request, with status 403.
	DenyWrite, DenyAll bool
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
