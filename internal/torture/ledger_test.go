//go:build unix

package torture

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gcsync/gcsync/fence"
	"github.com/gcsync/gcsync/gcstest"
)

// ledger is what the processes said, and what the service saw.
type ledger struct {
	mu     sync.Mutex
	counts map[kind]int
	grants map[int64]string // who got which token
	fates  map[string]kind  // the last word about each update
	errors map[string]int   // a few of the failures, to look at
	faults []string         // of ours: what must not happen

	sealed int64 // the greatest token on the object
	seals  int
	writes int
}

func newLedger() *ledger {
	return &ledger{counts: make(map[kind]int), grants: make(map[int64]string), fates: make(map[string]kind), errors: make(map[string]int)}
}

func (l *ledger) fault(format string, args ...any) {
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

// hear takes down what a process says.
func (l *ledger) hear(who string, m message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[m.Kind]++
	switch m.Kind {
	case entered:
		if other, again := l.grants[m.Token]; again {
			l.fault("token %d was granted to %s and to %s", m.Token, other, who)
		}
		l.grants[m.Token] = who
	case failed, unknown:
		if len(l.errors) < 5 {
			l.errors[m.Error]++
		}
	}
	if m.ID != "" {
		l.fates[m.ID] = m.Kind
	}
}

// see takes down what the service did to the shared object, in the order in which it did it: a seal needs a greater
// token than any before, and content is written under the token of the last seal.
func (l *ledger) see(r gcstest.Record) {
	if r.Name != shared || r.Status >= 300 || r.Kind != gcstest.Insert && r.Kind != gcstest.Patch {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	token, _ := strconv.ParseInt(r.Metadata[fence.MetadataKey], 10, 64)
	if r.Kind == gcstest.Patch || l.sealed == 0 {
		l.seals++
		if token <= l.sealed {
			l.fault("token %d has sealed the object after %d", token, l.sealed)
		}
		l.sealed = token
		return
	}
	l.writes++
	if token != l.sealed {
		l.fault("token %d has written to the object under the seal of %d", token, l.sealed)
	}
}

func (l *ledger) count(k kind) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[k]
}

// lost returns, when all is over, the updates that were acknowledged and are not in the object.
func (l *ledger) lost(list []update) (ids []string) {
	there := make(map[string]bool)
	for _, u := range list {
		there[u.ID] = true
	}
	for id, fate := range l.fates {
		if fate == acked && !there[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

// audit compares what was said with what is there, when all is over.
func (l *ledger) audit(t *testing.T, list []update) {
	t.Helper()
	for _, f := range l.faults {
		t.Error(f)
	}
	if lost := l.lost(list); len(lost) > 0 {
		t.Errorf("%d acknowledged updates are lost: %s", len(lost), strings.Join(lost, " "))
	}
	times := make(map[string]int)
	var last int64
	for _, u := range list {
		times[u.ID]++
		switch fate, known := l.fates[u.ID]; {
		case !known:
			t.Errorf("nobody has made update %s", u.ID)
		case fate == refused || fate == failed:
			t.Errorf("update %s is there, although its writer was told that it %s", u.ID, fate)
		case times[u.ID] > 1:
			t.Errorf("update %s is there twice", u.ID)
		}
		if u.Token <= last {
			t.Errorf("update %s under token %d comes after token %d", u.ID, u.Token, last)
		}
		last = u.Token
	}
}
