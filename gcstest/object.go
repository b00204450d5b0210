package gcstest

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// maxMetadata is the limit on the keys and values of one object's custom
// metadata together, in bytes.
const maxMetadata = 8 << 10

// properties is what a caller decides about an object and may change later.
type properties struct {
	ContentType        string            `json:"contentType,omitempty"`
	ContentEncoding    string            `json:"contentEncoding,omitempty"`
	ContentDisposition string            `json:"contentDisposition,omitempty"`
	ContentLanguage    string            `json:"contentLanguage,omitempty"`
	CacheControl       string            `json:"cacheControl,omitempty"`
	CustomTime         string            `json:"customTime,omitempty"`
	Metadata           map[string]string `json:"metadata,omitempty"`
	TemporaryHold      bool              `json:"temporaryHold,omitempty"`
	EventBasedHold     bool              `json:"eventBasedHold,omitempty"`
	Retention          *retention        `json:"retention,omitempty"`
}

// retention protects one object until a time.
type retention struct {
	Mode  string    `json:"mode"`
	Until time.Time `json:"retainUntilTime"`
}

// check refuses properties that the service would not take.
func (p *properties) check() *apiError {
	size := 0
	for k, v := range p.Metadata {
		size += len(k) + len(v)
	}
	if size > maxMetadata {
		return invalid("The total size of custom metadata is %d bytes, the limit is %d.", size, maxMetadata)
	}
	return nil
}

// object is one metageneration of one generation of an object. It is never
// changed once it is stored, so that it may be read without a lock.
type object struct {
	properties
	name           string
	generation     int64
	metageneration int64
	created        time.Time
	updated        time.Time
	storageClass   string
	data           []byte
	crc32c         string
	md5            string
}

// patched returns the next metageneration of o with other properties.
func (o *object) patched(p properties, now time.Time) *object {
	next := *o
	next.properties = p
	next.metageneration++
	next.updated = now
	return &next
}

// protection reports why o must not be deleted or overwritten, if so.
func (o *object) protection(bucket string, period time.Duration, now time.Time) *apiError {
	switch {
	case o.TemporaryHold:
		return held(bucket, o.name, "Temporary")
	case o.EventBasedHold:
		return held(bucket, o.name, "Event-Based")
	case o.Retention != nil && now.Before(o.Retention.Until):
		return retained(bucket, o.name, stamp(o.Retention.Until))
	case period > 0 && now.Before(o.created.Add(period)):
		return retained(bucket, o.name, stamp(o.created.Add(period)))
	}
	return nil
}

// etag is the entity tag, which names one metageneration of one generation.
func (o *object) etag() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(o.generation))
	binary.BigEndian.PutUint64(b[8:], uint64(o.metageneration))
	return base64.StdEncoding.EncodeToString(b[:])
}

// resource is the JSON form in which an object is uploaded or replaced.
type resource struct {
	properties
	Name         string `json:"name"`
	StorageClass string `json:"storageClass"`
	CRC32C       string `json:"crc32c"`
	MD5          string `json:"md5Hash"`
}

// answer is the JSON form in which an object is returned.
type answer struct {
	Kind           string `json:"kind"`
	ID             string `json:"id"`
	Name           string `json:"name"`
	Bucket         string `json:"bucket"`
	Generation     int64  `json:"generation,string"`
	Metageneration int64  `json:"metageneration,string"`
	StorageClass   string `json:"storageClass"`
	Size           int    `json:"size,string"`
	MD5            string `json:"md5Hash"`
	CRC32C         string `json:"crc32c"`
	ETag           string `json:"etag"`
	TimeCreated    string `json:"timeCreated"`
	Updated        string `json:"updated"`
	Finalized      string `json:"timeFinalized"`
	RetainedUntil  string `json:"retentionExpirationTime,omitempty"`
	properties
}

func (o *object) answer(bucket string, retain time.Duration) *answer {
	a := &answer{
		Kind: "storage#object", ID: bucket + "/" + o.name + "/" + strconv.FormatInt(o.generation, 10),
		Name: o.name, Bucket: bucket,
		Generation: o.generation, Metageneration: o.metageneration,
		StorageClass: o.storageClass, Size: len(o.data), MD5: o.md5, CRC32C: o.crc32c, ETag: o.etag(),
		TimeCreated: stamp(o.created), Updated: stamp(o.updated), properties: o.properties,
	}
	a.Finalized = a.TimeCreated
	if retain > 0 {
		a.RetainedUntil = stamp(o.created.Add(retain))
	}
	return a
}

// stamp formats a time as the service does.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// checksums returns the two hashes of an object's content in the service's form.
func checksums(data []byte) (crc, md string) {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], crc32.Checksum(data, castagnoli))
	sum := md5.Sum(data)
	return base64.StdEncoding.EncodeToString(b[:]), base64.StdEncoding.EncodeToString(sum[:])
}

// checkName refuses names that no object can have.
func checkName(name string) *apiError {
	switch {
	case name == "":
		return required("name")
	case len(name) > 1024:
		return invalid("The maximum object length is 1024 characters, but got a name with %d characters.", len(name))
	case !utf8.ValidString(name):
		return invalid("The object name is not valid UTF-8.")
	case strings.ContainsAny(name, "\r\n"):
		return invalid("Disallowed unicode characters present in object name.")
	case name == "." || name == "..", strings.HasPrefix(name, ".well-known/acme-challenge/"):
		return invalid("Invalid object name: '%s'", name)
	}
	return nil
}

// field is a member of a patch: absent, null or a value.
type field[T any] struct {
	set, null bool
	value     T
}

// UnmarshalJSON is called only for a member that is present.
func (f *field[T]) UnmarshalJSON(b []byte) error {
	f.set, f.null = true, string(b) == "null"
	if f.null {
		return nil
	}
	return json.Unmarshal(b, &f.value)
}

// to writes the member into a property; null clears it.
func (f *field[T]) to(p *T) {
	if f.set {
		*p = f.value
	}
}

// patch is the JSON form of a change of properties.
type patch struct {
	ContentType        field[string]             `json:"contentType"`
	ContentEncoding    field[string]             `json:"contentEncoding"`
	ContentDisposition field[string]             `json:"contentDisposition"`
	ContentLanguage    field[string]             `json:"contentLanguage"`
	CacheControl       field[string]             `json:"cacheControl"`
	CustomTime         field[string]             `json:"customTime"`
	Metadata           field[map[string]*string] `json:"metadata"`
	TemporaryHold      field[bool]               `json:"temporaryHold"`
	EventBasedHold     field[bool]               `json:"eventBasedHold"`
	Retention          field[*retention]         `json:"retention"`
}

// merge returns p as changed by the patch. Metadata keys are merged one by one:
// those absent stay, null removes one, and null for the whole removes all.
func (c *patch) merge(p properties) properties {
	c.ContentType.to(&p.ContentType)
	c.ContentEncoding.to(&p.ContentEncoding)
	c.ContentDisposition.to(&p.ContentDisposition)
	c.ContentLanguage.to(&p.ContentLanguage)
	c.CacheControl.to(&p.CacheControl)
	c.CustomTime.to(&p.CustomTime)
	c.TemporaryHold.to(&p.TemporaryHold)
	c.EventBasedHold.to(&p.EventBasedHold)
	c.Retention.to(&p.Retention)
	switch {
	case c.Metadata.null:
		p.Metadata = nil
	case c.Metadata.set:
		merged := make(map[string]string, len(p.Metadata)+len(c.Metadata.value))
		maps.Copy(merged, p.Metadata)
		for k, v := range c.Metadata.value {
			if v == nil {
				delete(merged, k)
			} else {
				merged[k] = *v
			}
		}
		p.Metadata = merged
	}
	return p
}

// loosens reports whether going from one retention to the other takes
// protection away, which an object's retention resists, and if so why not.
func (o *object) loosens(next *retention, override bool) *apiError {
	was := o.Retention
	if was == nil || next != nil && !next.Until.Before(was.Until) && (next.Mode == was.Mode || was.Mode == "Unlocked") {
		return nil
	}
	if was.Mode == "Unlocked" && override {
		return nil
	}
	return fail(http.StatusForbidden, "forbidden", "The retention of object '%s' cannot be reduced or removed.", o.name)
}
