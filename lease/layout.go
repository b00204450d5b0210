package lease

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gcsync/gcsync/internal/object"
)

// The layout of gcs-atomic-lock, the Python library, byte for byte, and one key more.
const (
	contentType = "text/plain"
	body        = "lock"

	keyExpires = "expires_sec"  // how long from the last write, in seconds; missing or not positive: nobody holds it
	keyOwner   = "lock_owner"   // who wrote last; a signature, if it was us
	keyEpoch   = "gcsync_epoch" // how many acquisitions of ours there were since the object was created
)

// signature is what we sign a write with. It stands in lock_owner, the one key that every client rewrites when it takes
// over: the Python library merges its metadata into the object's and leaves all other keys as they were, so a nonce in a
// key of its own would survive a takeover and pass for ours.
type signature struct {
	owner string // for people
	grant string // one for each acquisition
	write string // one for each write
}

func (s signature) String() string { return s.owner + " " + s.grant + "/" + s.write }

var signed = regexp.MustCompile(`^(?s)(.*) ([A-Z2-7]{26})/([A-Z2-7]{26})$`)

// signatureOf reads lock_owner. If another library wrote it, all of it is the owner, who also stands for the
// acquisition: nothing tells one from the next.
func signatureOf(metadata map[string]string) signature {
	owner := metadata[keyOwner]
	if m := signed.FindStringSubmatch(owner); m != nil {
		return signature{owner: m[1], grant: m[2], write: m[3]}
	}
	return signature{owner: owner, grant: owner}
}

// writeOf returns the nonce of the write that the metadata came from; empty if it was not one of this package.
func writeOf(metadata map[string]string) string { return signatureOf(metadata).write }

// lengthOf returns how long after its last write the object is to be left alone; 0: nobody holds it. Fractions, which
// only a stranger writes, are rounded up.
func lengthOf(metadata map[string]string) time.Duration {
	sec, err := strconv.ParseFloat(strings.TrimSpace(metadata[keyExpires]), 64)
	if err != nil || !(sec > 0) { // not a number is not positive either
		return 0
	}
	return time.Duration(math.Ceil(min(sec, longest.Seconds()))) * time.Second
}

// longest bounds what a stranger may ask for, so that twice as much is still a duration.
const longest = 100 * 365 * 24 * time.Hour

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// epochOf returns the number of the last acquisition of ours; 0: there was none.
func epochOf(metadata map[string]string) int64 {
	n, err := strconv.ParseUint(metadata[keyEpoch], 10, epochBits)
	if err != nil {
		return 0
	}
	return int64(n)
}

const (
	tokenShift = 20
	epochBits  = 40 // many more than the service could count; what exceeds them is no epoch
)

// tokenOf returns the fencing token of the last acquisition of ours; 0: there was none. The time of creation comes
// first: the Python library deletes the object, and the count with it, and a later object was created later.
func tokenOf(o object.Object) int64 {
	epoch := epochOf(o.Metadata)
	if epoch == 0 {
		return 0
	}
	return o.Created.UnixMilli()<<tokenShift + epoch
}
