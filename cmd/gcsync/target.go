package main

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// target is what a gs:// URL names.
type target struct{ bucket, name string }

// String is the URL for people: of a long name both ends.
func (t target) String() string { return "gs://" + t.bucket + "/" + clip(t.name, 2*widest) }

func (t target) url() string { return "gs://" + t.bucket + "/" + t.name }

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$`)

// parseURL reads gs://bucket and gs://bucket/name.
func parseURL(url string) (target, error) {
	rest, ok := strings.CutPrefix(url, "gs://")
	if !ok {
		return target{}, usagef("%.60q is not of the form gs://bucket/name", url)
	}
	bucket, name, _ := strings.Cut(rest, "/")
	switch {
	case bucket == "":
		return target{}, usagef("%.60q names no bucket: gs://bucket/name", url)
	case !bucketName.MatchString(bucket):
		return target{}, usagef("%.60q can be no bucket's name: lower-case letters, digits, dots, dashes and underscores", bucket)
	case !utf8.ValidString(name):
		return target{}, usagef("%.60q is not valid UTF-8", name)
	}
	return target{bucket, name}, nil
}

// parseName reads gs://bucket/name.
func parseName(url string) (target, error) {
	t, err := parseURL(url)
	if err == nil && t.name == "" {
		err = usagef("%.60q names a bucket and nothing in it: gs://%s/name", url, t.bucket)
	}
	return t, err
}

// parseBucket reads gs://bucket.
func parseBucket(url string) (target, error) {
	t, err := parseURL(url)
	if err == nil && t.name != "" {
		err = usagef("%.60q names more than a bucket: gs://%s", url, t.bucket)
	}
	return t, err
}
