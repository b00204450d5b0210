package object

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"strings"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
)

// Request is what one attempt asks of the service, as far as an answer can be held against it.
//
// Between a program and the service stand proxies, meshes, load balancers and captive portals, and any of them may answer in
// its place: with a 404 of its own, with a page, with an empty object, with nothing. So an answer is evidence only if it is
// the service's, and about the object that was asked for. Every other answer tells as much as none would: the request
// may have been carried out or not, or may be yet.
type Request struct {
	Op       string // create, get, patch, delete or list
	Bucket   string
	Name     string            // of the object; of a list, the prefix
	At       Version           // that the request is conditional on; zero: none, or that there is nothing
	Metadata map[string]string // that it writes
}

// Mismatch says why a is not the answer to the request; empty: it is.
func (r *Request) Mismatch(a *storage.ObjectAttrs) string {
	switch {
	case a == nil || a.Name == "" && a.Bucket == "":
		return "no object"
	case a.Name != r.Name || a.Bucket != r.Bucket:
		return fmt.Sprintf("another object, gs://%s/%s", a.Bucket, a.Name)
	case a.Generation <= 0 || a.Metageneration <= 0 || a.Created.IsZero():
		return "an object without a version"
	}
	if r.At != (Version{}) {
		meta := a.Metageneration
		switch is := a.Generation == r.At.Gen; {
		case r.Op == opCreate && is, r.Op != opCreate && !is,
			r.Op == opGet && r.At.Meta != 0 && meta != r.At.Meta,
			r.Op == opPatch && meta <= r.At.Meta:
			return fmt.Sprintf("version %d/%d, which it cannot be", a.Generation, meta)
		}
	}
	for key, value := range r.Metadata {
		if a.Metadata[key] != value {
			return fmt.Sprintf("%s is %q, not what was written", key, a.Metadata[key])
		}
	}
	return ""
}

// Judge returns the outcome of an attempt, and what to tell a person of it, from the client's error or, without one, from the
// [Request.Mismatch] of the answer.
func (r *Request) Judge(mismatch string, err error) (Outcome, string) {
	if err == nil && mismatch != "" {
		return Indeterminate, foreign(mismatch)
	}
	return r.Classify(err)
}

// foreign is the advice for an answer that is not the service's.
func foreign(what string) string {
	return "an answer that is not the service's (" + what + "): check what stands between this program and the bucket, and the endpoint"
}

// spoken returns the reason and the message of an error that the service itself has worded, and false for any other: over
// JSON its errors are a list of items with a reason, of which Google's emulator gives the message alone; over XML, which the
// client reads content by, they have a code.
func spoken(g *googleapi.Error) (reason, message string, ok bool) {
	for _, item := range g.Errors {
		if item.Reason != "" || item.Message != "" {
			return item.Reason, cmp.Or(item.Message, g.Message), true
		}
	}
	var x struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}
	if len(g.Errors) == 0 && xml.Unmarshal([]byte(g.Body), &x) == nil && x.Code != "" {
		return xmlReasons[x.Code], x.Message, true
	}
	return "", "", false
}

// xmlReasons are the reasons of the JSON API for the codes of the XML API that make a difference here.
var xmlReasons = map[string]string{
	"PreconditionFailed": reasonCondition,
	"NoSuchKey":          reasonNotFound,
	"NoSuchBucket":       reasonNotFound,
	"SlowDown":           "rateLimitExceeded",
}

const (
	reasonCondition = "conditionNotMet"
	reasonNotFound  = "notFound"
)

// names reports whether the message of a 404 is about the object that was asked for, and not about one whose name begins like
// it. The service ends it with the name; Google's emulator goes on.
func (r *Request) names(message string) bool {
	_, rest, ok := strings.Cut(message, r.Bucket+"/"+r.Name)
	return ok && (rest == "" || strings.HasPrefix(rest, " does not exist"))
}
