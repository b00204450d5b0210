package fence

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// MetadataKey is the key of the custom metadata under which a guarded object carries its greatest token, in decimal.
const MetadataKey = "gcsync-fence"

// The other keys say who did it, so that a caller without an answer can find out what became of its request.
const (
	keySeal   = MetadataKey + "-seal"   // nonce of the last seal
	keyWrites = MetadataKey + "-writes" // the last writes, newest first; a seal leaves them alone
)

// mark is what the metadata of a guarded object says.
type mark struct {
	token  int64 // 0 if nobody has sealed it
	seal   string
	writes []origin
}

// origin is where some content came from: the write that made it, and the generation that this write replaced.
type origin struct {
	from  int64
	nonce string
}

// remembered is how many writes an object remembers: those of somewhat more than half a minute, at the one change a
// second that the service takes and a seal for each write, in less than a tenth of the room that metadata has.
const remembered = 16

// parseMark reads a mark. An object without one was never sealed; one that cannot be read is an error, since whoever
// took it for none would let a zombie in.
func parseMark(metadata map[string]string) (mark, error) {
	text, sealed := metadata[MetadataKey]
	if !sealed {
		return mark{}, nil
	}
	token, err := strconv.ParseInt(text, 10, 64)
	if err != nil || token <= 0 {
		return mark{}, fmt.Errorf("its metadata has %s=%q, which is no fencing token: correct or remove it", MetadataKey, text)
	}
	m := mark{token: token, seal: metadata[keySeal]}
	for field := range strings.FieldsSeq(metadata[keyWrites]) {
		from, nonce, _ := strings.Cut(field, ":")
		if gen, err := strconv.ParseInt(from, 10, 64); err == nil { // else it is not ours, and tells nothing
			m.writes = append(m.writes, origin{gen, nonce})
		}
	}
	return m, nil
}

// sealing is the metadata that a seal merges into the object's.
func (m mark) sealing() map[string]string {
	return map[string]string{MetadataKey: strconv.FormatInt(m.token, 10), keySeal: m.seal}
}

// writing is the whole metadata of a write: the mark, and what others keep there.
func (m mark) writing(others map[string]string) map[string]string {
	all := maps.Clone(others)
	if all == nil {
		all = make(map[string]string)
	}
	maps.Copy(all, m.sealing())
	texts := make([]string, 0, remembered)
	for _, w := range m.writes {
		texts = append(texts, fmt.Sprintf("%d:%s", w.from, w.nonce))
	}
	all[keyWrites] = strings.Join(texts, " ")
	return all
}

// after is the mark of an object that bears m and is then written by w.
func (m mark) after(w origin) mark {
	m.writes = slices.Insert(slices.Clone(m.writes), 0, w)
	m.writes = m.writes[:min(len(m.writes), remembered)]
	return m
}

// has reports whether w is among the writes that the object remembers.
func (m mark) has(w origin) bool { return slices.Contains(m.writes, w) }

// excludes reports whether another write has replaced what w was to replace, so that w was not applied and never will
// be.
func (m mark) excludes(w origin) bool {
	return slices.ContainsFunc(m.writes, func(o origin) bool { return o.from == w.from && o.nonce != w.nonce })
}
