package queue

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gcsync/gcsync/internal/object"
)

// Objects of one lock live in folders below its name: t/ for the tickets, w/ for the witnesses and the calls of the roll, h/ for the registry,
// s/ for the rows of a semaphore's slots.
// A segment of a lock's own name that reads like one of these folders has its first character escaped, so that no
// lock's folder ever holds another lock's objects: the tickets of "a" are in a/t/, those of "a/t" in a/%74/t/.
const (
	dirTickets   = "/t/"
	dirWitnesses = "/w/"
	dirHolders   = "/h/"
	dirSlots     = "/s/"
)

// reserved are the folder names that a segment of a lock's name must not be mistaken for.
var reserved = map[string]bool{"t": true, "w": true, "h": true, "s": true, "run": true, "done": true}

// digits is the width of a ticket's number in its name: that of the largest int64, so that names sort like numbers.
const digits = 19

// ErrName says that nothing can have this name.
var ErrName = errors.New("impossible name")

// Path is where the objects of one lock live: the prefix and the lock's escaped name.
type Path string

// NewPath returns the path of the lock name below prefix.
func NewPath(prefix, name string) (Path, error) {
	if name == "" {
		return "", fmt.Errorf("%w: empty", ErrName)
	}
	if !utf8.ValidString(name) {
		return "", fmt.Errorf("%w: %q is not valid UTF-8", ErrName, name)
	}
	p := Path(prefix + escape(name))
	longest := p.many().ticket(0)
	if err := object.CheckName(longest + "-witness-of-a-generation"); err != nil {
		return "", fmt.Errorf("%w: %.40q... cannot be kept in a bucket: %w", ErrName, name, err)
	}
	return p, nil
}

// escape writes name so that it can stand in an object's name: percent-encoding for what the service advises against
// (https://cloud.google.com/storage/docs/objects#naming), and for reserved segments. Distinct names stay distinct.
func escape(name string) string {
	segments := strings.Split(name, "/")
	for i, s := range segments {
		var b strings.Builder
		for j, r := range s {
			switch {
			case j == 0 && (reserved[s] || strings.Trim(s, ".") == ""), !plain(r):
				for _, c := range []byte(string(r)) {
					fmt.Fprintf(&b, "%%%02X", c)
				}
			default:
				b.WriteRune(r)
			}
		}
		segments[i] = b.String()
	}
	return strings.Join(segments, "/")
}

func plain(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_.,=@+:~!$&'()", r)
}

func (p Path) tickets() string   { return string(p) + dirTickets }
func (p Path) witnesses() string { return string(p) + dirWitnesses }
func (p Path) slots() string     { return string(p) + dirSlots }
func (p Path) holders() string   { return string(p) + dirHolders }

// slot is where the row of a semaphore's i'th slot lives.
func (p Path) slot(i int64) Path { return Path(p.slots() + decimal(i)) }

// many is where the row lives that lets one request for several slots gather at a time.
func (p Path) many() Path { return Path(p.slots() + "many") }

// slotOf takes the path of a slot's row apart: the semaphore's, and the number, which is -1 for the row of many.
func (p Path) slotOf() (of Path, i int64, ok bool) {
	at := strings.LastIndex(string(p), dirSlots)
	if at < 0 {
		return p, 0, false
	}
	num := string(p)[at+len(dirSlots):]
	if num == "many" {
		return p[:at], -1, true
	}
	n, err := strconv.ParseUint(num, 10, 63)
	return p[:at], int64(n), err == nil
}

// ticket names the n'th ticket.
func (p Path) ticket(n int64) string { return p.numbered(dirTickets, n) }

// entry names the registry's entry of a reader behind the n'th ticket.
func (p Path) entry(n int64, nonce string) string { return p.numbered(dirHolders, n) + "-" + nonce }

func (p Path) numbered(dir string, n int64) string {
	var num [digits]byte
	for i := digits - 1; i >= 0; i-- {
		num[i] = byte('0' + n%10)
		n /= 10
	}
	return string(p) + dir + string(num[:])
}

// number returns the number of the ticket that the object's name stands for; false for a name that is no ticket's.
func (p Path) number(name string) (int64, bool) { return p.numberIn(dirTickets, name) }

// anchor names the object that every listing of the registry ends with.
func (p Path) anchor() string { return p.holders() + "anchor" }

// behind returns the number of the ticket that the registry's entry of this name stands behind.
func (p Path) behind(name string) (int64, bool) {
	end := len(p) + len(dirHolders) + digits
	if len(name) < end+2 || name[end] != '-' {
		return 0, false
	}
	return p.numberIn(dirHolders, name[:end])
}

func (p Path) numberIn(dir, name string) (int64, bool) {
	s, ok := strings.CutPrefix(name, string(p)+dir)
	if !ok || len(s) != digits {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil
}

// call names the call for the ticket of generation gen.
func (p Path) call(gen int64) string { return p.witnesses() + callPrefix + decimal(gen) }

const callPrefix = "call-"

// witness names the testimony that the baton stood at metageneration meta while the ticket of generation gen was next.
func (p Path) witness(gen, meta int64) string {
	return fmt.Sprintf("%s%d-%d", p.witnesses(), gen, meta)
}
