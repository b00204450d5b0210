package gcstest

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
)

// apiError is an answer that is not a success, as the service words it.
type apiError struct {
	status   int
	reason   string
	message  string
	location string // of the fault within the request, as in "ifGenerationMatch"
}

func fail(status int, reason, format string, args ...any) *apiError {
	return &apiError{status: status, reason: reason, message: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *apiError {
	return fail(http.StatusBadRequest, "invalid", format, args...)
}

func required(what string) *apiError {
	return &apiError{status: http.StatusBadRequest, reason: "required", message: "Required parameter: " + what, location: what}
}

func unsupported(what string) *apiError {
	return fail(http.StatusNotImplemented, "notImplemented", "gcstest does not simulate %s.", what)
}

func noBucket() *apiError {
	return fail(http.StatusNotFound, "notFound", "The specified bucket does not exist.")
}

func noObject(bucket, name string) *apiError {
	return fail(http.StatusNotFound, "notFound", "No such object: %s/%s", bucket, name)
}

func throttled(bucket, name string) *apiError {
	return fail(http.StatusTooManyRequests, "rateLimitExceeded",
		"The object %s/%s exceeded the rate limit for object mutation operations (create, update, and delete). "+
			"Please reduce your request rate. See https://cloud.google.com/storage/docs/gcs429.", bucket, name)
}

func denied(permission string) *apiError {
	return fail(http.StatusForbidden, "forbidden",
		"The caller does not have %s access to the Google Cloud Storage resource. "+
			"Permission '%s' denied on resource (or it may not exist).", permission, permission)
}

func held(bucket, name, hold string) *apiError {
	return fail(http.StatusForbidden, "objectUnderActiveHold",
		"Object '%s/%s' is under active %s hold and cannot be deleted, overwritten or archived until hold is removed.",
		bucket, name, hold)
}

func retained(bucket, name, until string) *apiError {
	return fail(http.StatusForbidden, "retentionPolicyNotMet",
		"Object '%s/%s' is subject to bucket's retention policy or object retention "+
			"and cannot be deleted or overwritten until %s", bucket, name, until)
}

// json renders the error in the form of the JSON API.
func (e *apiError) json() []byte {
	type item struct {
		Message      string `json:"message"`
		Domain       string `json:"domain"`
		Reason       string `json:"reason"`
		LocationType string `json:"locationType,omitempty"`
		Location     string `json:"location,omitempty"`
	}
	type body struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Errors  []item `json:"errors"`
	}
	it := item{Message: e.message, Domain: "global", Reason: e.reason}
	if e.reason == "rateLimitExceeded" {
		it.Domain = "usageLimits"
	}
	if e.location != "" {
		it.LocationType, it.Location = "parameter", e.location
	}
	out, err := json.Marshal(struct {
		Error body `json:"error"`
	}{body{Code: e.status, Message: e.message, Errors: []item{it}}})
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	return out
}

// xml renders the error in the form of the XML API.
func (e *apiError) xml() []byte {
	out, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}{Code: e.reason, Message: e.message})
	if err != nil {
		panic(err) // strings always marshal
	}
	return append([]byte(xml.Header), out...)
}

// refusal is the error with which a service that is overloaded or broken
// answers any request.
func refusal(status int) *apiError {
	switch status {
	case http.StatusTooManyRequests:
		return fail(status, "rateLimitExceeded", "The rate limit was exceeded. Please reduce your request rate.")
	case http.StatusUnauthorized:
		return fail(status, "authError", "Invalid Credentials")
	case http.StatusForbidden:
		return fail(status, "forbidden", "Access denied.")
	case http.StatusPreconditionFailed:
		return fail(status, "conditionNotMet", conditionMessage)
	case http.StatusNotFound:
		return fail(status, "notFound", "Not Found")
	case http.StatusInternalServerError:
		return fail(status, "internalError", "We encountered an internal error. Please try again.")
	default:
		return fail(status, "backendError", "%s", http.StatusText(status))
	}
}
