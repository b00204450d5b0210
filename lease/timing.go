package lease

import (
	"fmt"
	"time"
)

// Margin returns how long before the end of a lease its holder stops believing in it: a tenth, at least a second. It
// covers a difference in clock rate of up to one percent on both sides, and the code between a check and its effect.
func Margin(length time.Duration) time.Duration { return max(length/10, time.Second) }

// RequestTimeout returns the bound on one request under a lease of the given length: a fifth.
func RequestTimeout(length time.Duration) time.Duration { return length / 5 }

// MaxLength is the longest that a lease may be. What claims to be longer was not written by us.
const MaxLength = 30 * 24 * time.Hour

// CheckLength reports why a lease of the given length could not be kept, or nil: a third of it passes before the first
// renewal, a request may take a fifth, and the margin must be left.
func CheckLength(length time.Duration) error {
	if length > MaxLength {
		return fmt.Errorf("%v is longer than a lease may be: make it %v at most", length, MaxLength)
	}
	if need := length/3 + RequestTimeout(length) + Margin(length); need >= length {
		return fmt.Errorf("%v leaves no time to renew: a third of it, %v for a request and a margin of %v come to %v: make it longer",
			length, RequestTimeout(length), Margin(length), need)
	}
	return nil
}
