package fence

import (
	"fmt"
	"maps"
	"strconv"
)

// MetadataKey is the key of the custom metadata under which a guarded object carries its greatest token, in decimal.
const MetadataKey = "gcsync-fence"

// The other keys say who did it, so that a writer without an answer can find out what became of its write.
const (
	keySeal  = MetadataKey + "-seal"  // nonce of the last seal
	keyWrite = MetadataKey + "-write" // nonce of the write that the content is from; a seal leaves it alone
	keyFrom  = MetadataKey + "-from"  // the generation that this write replaced
)

// mark is what the metadata of a guarded object says.
type mark struct {
	token int64 // 0 if nobody has sealed it
	seal  string
	write string
	from  int64 // 0 if unknown
}

// parseMark reads a mark. An object without one was never sealed; one that cannot be read is an error, since whoever
// took it for none would let a zombie in.
func parseMark(metadata map[string]string) (mark, error) {
	m := mark{seal: metadata[keySeal], write: metadata[keyWrite]}
	text, sealed := metadata[MetadataKey]
	if !sealed {
		return mark{}, nil
	}
	token, err := strconv.ParseInt(text, 10, 64)
	if err != nil || token <= 0 {
		return mark{}, fmt.Errorf("its metadata has %s=%q, which is no fencing token: correct or remove it", MetadataKey, text)
	}
	m.token = token
	m.from, _ = strconv.ParseInt(metadata[keyFrom], 10, 64) // 0, unknown, if it is not ours
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
	all[keyWrite] = m.write
	all[keyFrom] = strconv.FormatInt(m.from, 10)
	return all
}
