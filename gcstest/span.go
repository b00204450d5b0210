package gcstest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// span is the part of an object's content that a read asks for.
type span struct {
	from, to int // to is the first byte that is not wanted, -1 for the end
	suffix   bool
}

// parseSpan reads a Range header. Nil stands for the whole content, which is
// also what a header that makes no sense asks for.
func parseSpan(header string) *span {
	spec, ok := strings.CutPrefix(header, "bytes=")
	if !ok {
		return nil
	}
	if n, err := strconv.Atoi(spec); err == nil && n < 0 {
		return &span{from: -n, suffix: true}
	}
	first, last, ok := strings.Cut(spec, "-")
	from, err := strconv.Atoi(first)
	if !ok || err != nil || from < 0 {
		return nil
	}
	if last == "" {
		return &span{from: from, to: -1}
	}
	to, err := strconv.Atoi(last)
	if err != nil || to < from {
		return nil
	}
	return &span{from: from, to: to + 1}
}

// resolve fits the span to content of a size.
func (s *span) resolve(size int) *apiError {
	if s.suffix {
		s.from, s.to, s.suffix = max(size-s.from, 0), size, false
	}
	if s.from >= size {
		return fail(http.StatusRequestedRangeNotSatisfiable, "requestedRangeNotSatisfiable",
			"Request range not satisfiable")
	}
	if s.to < 0 || s.to > size {
		s.to = size
	}
	return nil
}

// contentRange returns the header that says which part of how much is answered.
func (s *span) contentRange(size int) string {
	return fmt.Sprintf("bytes %d-%d/%d", s.from, s.to-1, size)
}
