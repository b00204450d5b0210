package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The same answer means the same over JSON and gRPC, however it is wrapped.
func TestClassify(t *testing.T) {
	http := func(code int, reason, message string) error {
		return &googleapi.Error{Code: code, Message: message, Errors: []googleapi.ErrorItem{{Reason: reason}}}
	}
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
		{opGet, http(304, "", ""), Refused},
		{opGet, fmt.Errorf("%w: %w", storage.ErrObjectNotExist, http(404, "notFound", "No such object: b/o")), Missing},
		{opGet, fmt.Errorf("%w: %w", storage.ErrObjectNotExist, status.Error(codes.NotFound, "No such object: b/o")), Missing},
		{opGet, fmt.Errorf("%w: %w", storage.ErrObjectNotExist, http(404, "notFound", "The specified bucket does not exist.")), Denied},
		{opDelete, fmt.Errorf("%w: %w", storage.ErrObjectNotExist, status.Error(codes.NotFound, "The specified bucket does not exist.")), Denied},
		{opCreate, http(404, "notFound", "Not Found"), Denied},
		{opList, fmt.Errorf("%w: %w", storage.ErrBucketNotExist, http(404, "notFound", "Not Found")), Denied},
		{opDelete, http(429, "rateLimitExceeded", ""), Busy},
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
		{opGet, fmt.Errorf("read: %w", storage.ErrObjectNotExist), Missing},
		{opPatch, context.DeadlineExceeded, Indeterminate},
		{opPatch, fmt.Errorf("send: %w", context.Canceled), Indeterminate},
		{opPatch, io.ErrUnexpectedEOF, Indeterminate},
		{opPatch, errors.New("connection reset by peer"), Indeterminate},
	} {
		if got, _ := Classify(c.op, c.err); got != c.want {
			t.Errorf("%s: %v is %v, want %v", c.op, c.err, got, c.want)
		}
	}
}
