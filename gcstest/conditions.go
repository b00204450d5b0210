package gcstest

import (
	"net/http"
	"net/url"
	"strconv"
)

// conditions are the preconditions of a request; -1 stands for an absent one.
type conditions struct {
	generation, notGeneration         int64
	metageneration, notMetageneration int64
}

var unconditional = conditions{-1, -1, -1, -1}

const conditionMessage = "At least one of the pre-conditions you specified did not hold."

// number reads a parameter that is a non-negative integer; -1 if absent.
func number(q url.Values, key string) (int64, *apiError) {
	v := q.Get(key)
	if v == "" {
		return -1, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return -1, &apiError{http.StatusBadRequest, "invalid", "Invalid value for " + key + ": " + v, key}
	}
	return n, nil
}

// parseConditions reads the preconditions of a JSON API request.
func parseConditions(q url.Values) (c conditions, err *apiError) {
	c = unconditional
	for _, p := range [...]struct {
		key string
		to  *int64
	}{
		{"ifGenerationMatch", &c.generation},
		{"ifGenerationNotMatch", &c.notGeneration},
		{"ifMetagenerationMatch", &c.metageneration},
		{"ifMetagenerationNotMatch", &c.notMetageneration},
	} {
		if *p.to, err = number(q, p.key); err != nil {
			return unconditional, err
		}
	}
	return c, nil
}

// parseHeaderConditions reads the preconditions of an XML API request.
func parseHeaderConditions(h http.Header) (conditions, *apiError) {
	q := make(url.Values, 4)
	for header, key := range map[string]string{
		"X-Goog-If-Generation-Match":         "ifGenerationMatch",
		"X-Goog-If-Generation-Not-Match":     "ifGenerationNotMatch",
		"X-Goog-If-Metageneration-Match":     "ifMetagenerationMatch",
		"X-Goog-If-Metageneration-Not-Match": "ifMetagenerationNotMatch",
	} {
		if v := h.Get(header); v != "" {
			q.Set(key, v)
		}
	}
	return parseConditions(q)
}

// check compares the conditions with the live object, whose numbers are 0 if
// there is none. A request that only reads is told by status 304 that a
// not-match failed, any other by 412.
func (c conditions) check(generation, metageneration int64, read bool) *apiError {
	if c == unconditional {
		return nil
	}
	failed := func(key string) *apiError {
		return &apiError{http.StatusPreconditionFailed, "conditionNotMet", conditionMessage, key}
	}
	switch {
	case c.generation >= 0 && c.generation != generation:
		return failed("ifGenerationMatch")
	case c.metageneration >= 0 && c.metageneration != metageneration:
		return failed("ifMetagenerationMatch")
	}
	var err *apiError
	switch {
	case c.notGeneration >= 0 && c.notGeneration == generation:
		err = failed("ifGenerationNotMatch")
	case c.notMetageneration >= 0 && c.notMetageneration == metageneration:
		err = failed("ifMetagenerationNotMatch")
	}
	if err != nil && read {
		err.status = http.StatusNotModified
	}
	return err
}
