package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The same answer means the same over JSON and gRPC, however it is wrapped.
func TestClassify(t *testing.T) {
	http := func(code int, reason, message string) error {
		return &googleapi.Error{Code: code, Message: message, Errors: []googleapi.ErrorItem{{Reason: reason, Message: message}}}
	}
	xml := func(code int, body string) error { return &googleapi.Error{Code: code, Body: body} }
	const unheld = "At least one of the pre-conditions you specified did not hold."
	for _, c := range []struct {
		op   string
		err  error
		want Outcome
	}{
		{opGet, nil, Applied},
		{opCreate, http(412, "conditionNotMet", unheld), Refused},
		{opCreate, status.Error(codes.FailedPrecondition, unheld), Refused},
		{opCreate, status.Error(codes.Aborted, unheld), Refused},
		{opGet, http(304, "", ""), Indeterminate}, // to no request of ours
		{opGet, fmt.Errorf("%w: %w", storage.ErrObjectNotExist, http(404, "notFound", "No such object: b/o")), Missing},
		{opGet, fmt.Errorf("%w: %w", storage.ErrObjectNotExist, status.Error(codes.NotFound, "No such object: b/o")), Missing},
		{opGet, http(404, "", "Live version of object b/o does not exist."), Missing},
		{opGet, http(404, "", "Bucket b does not exist."), Denied},
		{opCreate, http(412, "", "if_generation_match validation failed."), Refused},
		{opCreate, xml(412, "<Error><Code>PreconditionFailed</Code><Message>x</Message></Error>"), Refused},
		{opGet, xml(403, "<?xml version='1.0' encoding='UTF-8'?><Error><Code>AccessDenied</Code></Error>"), Denied},
		// Not the service's, or about something else.
		{opGet, fmt.Errorf("%w: %w", storage.ErrObjectNotExist, http(404, "notFound", "No such object: b/other")), Indeterminate},
		{opGet, fmt.Errorf("%w: %w", storage.ErrObjectNotExist, http(404, "notFound", "Not Found")), Indeterminate},
		{opGet, fmt.Errorf("%w: %w", storage.ErrObjectNotExist, status.Error(codes.NotFound, "no route")), Indeterminate},
		{opDelete, http(404, "", ""), Indeterminate},
		{opCreate, http(404, "", ""), Indeterminate},
		{opDelete, http(412, "", ""), Indeterminate},
		{opDelete, http(412, "outOfQuota", "x"), Indeterminate},
		{opDelete, http(401, "", ""), Indeterminate},
		{opDelete, http(403, "", ""), Indeterminate},
		{opDelete, http(400, "", ""), Indeterminate},
		{opDelete, xml(404, "<html><body>Not Found</body></html>"), Indeterminate},
		{opDelete, status.Error(codes.Unimplemented, unspoken+": 404 (Not Found)"), Indeterminate},
		{opDelete, status.Error(codes.PermissionDenied, unspoken+": 403 (Forbidden)"), Indeterminate},

		{opGet, fmt.Errorf("%w: %w", storage.ErrObjectNotExist, http(404, "notFound", "The specified bucket does not exist.")), Denied},
		{opDelete, fmt.Errorf("%w: %w", storage.ErrObjectNotExist, status.Error(codes.NotFound, "The specified bucket does not exist.")), Denied},
		{opCreate, http(404, "notFound", "Not Found"), Denied},
		{opList, fmt.Errorf("%w: %w", storage.ErrBucketNotExist, http(404, "notFound", "Not Found")), Denied},
		{opDelete, http(429, "rateLimitExceeded", ""), Busy},
		{opDelete, http(429, "", ""), Indeterminate},
		{opDelete, status.Error(codes.ResourceExhausted, ""), Busy},
		{opDelete, http(403, "userRateLimitExceeded", ""), Busy},
		{opDelete, http(403, "forbidden", "x does not have storage.objects.delete access"), Denied},
		{opDelete, status.Error(codes.PermissionDenied, ""), Denied},
		{opDelete, http(403, "retentionPolicyNotMet", ""), Denied},
		{opDelete, status.Error(codes.FailedPrecondition, "Object 'b/o' is under active Temporary hold and cannot be deleted"), Denied},
		{opPatch, http(401, "required", ""), Denied},
		{opPatch, status.Error(codes.Unauthenticated, ""), Denied},
		{opPatch, http(400, "invalid", ""), Denied},
		{opPatch, http(500, "backendError", ""), Indeterminate},
		{opPatch, http(503, "backendError", ""), Indeterminate},
		{opPatch, http(408, "", ""), Indeterminate},
		{opPatch, status.Error(codes.Unavailable, ""), Indeterminate},
		{opPatch, status.Error(codes.Internal, ""), Indeterminate},
		{opPatch, status.Error(codes.DeadlineExceeded, ""), Indeterminate},
		{opGet, fmt.Errorf("read: %w", storage.ErrObjectNotExist), Refused},
		{opPatch, context.DeadlineExceeded, Indeterminate},
		{opPatch, fmt.Errorf("send: %w", context.Canceled), Indeterminate},
		{opPatch, io.ErrUnexpectedEOF, Indeterminate},
		{opPatch, errors.New("connection reset by peer"), Indeterminate},
	} {
		if got, _ := (&Request{Op: c.op, Bucket: "b", Name: "o"}).Classify(c.err); got != c.want {
			t.Errorf("%s: %v is %v, want %v", c.op, c.err, got, c.want)
		}
	}
}

// An object is the answer to a request only if it can be.
func TestMismatch(t *testing.T) {
	written := map[string]string{KeyNonce: "n"}
	for _, c := range []struct {
		why  string
		r    Request
		gen  int64
		meta int64
		md   map[string]string
		ok   bool
	}{
		{"read", Request{Op: opGet}, 7, 2, nil, true},
		{"no version", Request{Op: opGet}, 0, 2, nil, false},
		{"no metageneration", Request{Op: opGet}, 7, 0, nil, false},
		{"read at a version", Request{Op: opGet, At: Version{7, 2}}, 7, 2, nil, true},
		{"read at another generation", Request{Op: opGet, At: Version{7, 2}}, 8, 2, nil, false},
		{"read at another metageneration", Request{Op: opGet, At: Version{7, 2}}, 7, 1, nil, false},
		{"created", Request{Op: opCreate, Metadata: written}, 7, 1, written, true},
		{"created by another", Request{Op: opCreate, Metadata: written}, 7, 1, map[string]string{KeyNonce: "x"}, false},
		{"replaced", Request{Op: opCreate, At: Version{7, 2}}, 8, 1, nil, true},
		{"not replaced", Request{Op: opCreate, At: Version{7, 2}}, 7, 2, nil, false},
		{"patched", Request{Op: opPatch, At: Version{7, 2}, Metadata: written}, 7, 3, written, true},
		{"patched nothing", Request{Op: opPatch, At: Version{7, 2}, Metadata: written}, 7, 2, written, false},
		{"patched another", Request{Op: opPatch, At: Version{7, 2}, Metadata: written}, 8, 3, written, false},
		{"patched with something else", Request{Op: opPatch, At: Version{7, 2}, Metadata: written}, 7, 3, nil, false},
	} {
		c.r.Bucket, c.r.Name = "b", "o"
		a := storage.ObjectAttrs{Bucket: "b", Name: "o", Generation: c.gen, Metageneration: c.meta, Metadata: c.md, Created: time.Unix(1, 0)}
		if why := c.r.Mismatch(&a); (why == "") != c.ok {
			t.Errorf("%s: %q", c.why, why)
		}
		a.Name = "other"
		if c.r.Mismatch(&a) == "" || c.r.Mismatch(&storage.ObjectAttrs{}) == "" || c.r.Mismatch(nil) == "" {
			t.Errorf("%s: another object, or none, is no mismatch", c.why)
		}
	}
}

// What happened comes before the name, of which errors print no more than the beginning.
func TestErrorsTellTheReasonFirst(t *testing.T) {
	long := strings.Repeat("long-name/", 90)
	e := &Error{Op: opList, Bucket: "b", Name: long, Outcome: Denied, Advice: "bucket not found", Err: errors.New("HTTP 404")}
	text := e.Error()
	if !strings.HasPrefix(text, "bucket not found: HTTP 404 (list gs://b/long-name/") || len(text) > 130 {
		t.Error(text)
	}
}
