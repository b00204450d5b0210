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

// Objects of one lock live in folders below its name: t/ for the tickets, w/ for the witnesses, h/ for the registry.
// A segment of a lock's own name that reads like one of these folders has its first character escaped, so that no
// lock's folder ever holds another lock's objects: the tickets of "a" are in a/t/, those of "a/t" in a/%74/t/.
const (
	dirTickets   = "/t/"
	dirWitnesses = "/w/"
	dirHolders   = "/h/"
)

// reserved are the folder names that a segment of a lock's name must not be mistaken for.
var reserved = map[string]bool{"t": true, "w": true, "h": true, "run": true, "done": true}

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
	longest := p.ticket(0)
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
func (p Path) holders() string   { return string(p) + dirHolders }

// ticket names the n'th ticket.
func (p Path) ticket(n int64) string { return p.numbered(dirTickets, n) }

// holder names the registry's entry of whoever came with the n'th ticket.
func (p Path) holder(n int64) string { return p.numbered(dirHolders, n) }

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

// holderNumber does the same for an entry of the registry.
func (p Path) holderNumber(name string) (int64, bool) { return p.numberIn(dirHolders, name) }

func (p Path) numberIn(dir, name string) (int64, bool) {
	s, ok := strings.CutPrefix(name, string(p)+dir)
	if !ok || len(s) != digits {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil
}

// witness names the testimony that the baton stood at metageneration meta while the ticket of generation gen was next.
func (p Path) witness(gen, meta int64) string {
	return fmt.Sprintf("%s%d-%d", p.witnesses(), gen, meta)
}
