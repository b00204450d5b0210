package queue

// Event is a branch of the protocol that was taken.
type Event uint8

// The events, in the order of the protocol's steps.
const (
	BaseRemembered  Event = iota // built on our own last ticket without looking
	BaseShown                    // built on the tail that a listing of all slots of a semaphore showed
	BaseProbed                   // the tail was found by reads and confirmed by the pin
	ProbeMissed                  // the probe found no tail, or the pin was gone
	BaseListed                   // the tail was found by a listing
	Bootstrapped                 // created ticket 0 of an empty queue
	BootstrapUndone              // our ticket 0 came too late and was deleted
	CreateRefused                // the number was taken, or throttled
	CreateAdopted                // a create that seemed refused or lost turned out to be ours
	GhostDeleted                 // our ticket had landed on a freed number
	ExpiredUnseen                // our ticket was expired before we had verified it
	ChainLearned                 // a listing told who is ahead
	ClaimExpired                 // deleted the baton of a holder that never renewed
	TTLExpired                   // deleted the baton of a holder that stopped renewing
	AbandonedObeyed              // deleted the baton of a waiter that had given up
	Requeued                     // granted too late to be believed; queued again
	Granted                      // the ticket became the head
	Passed                       // handed on to another goroutine of this process
	PassLimit                    // released to another process though goroutines here were waiting
	Lingered                     // kept for a moment with nobody waiting
	LingerCut                    // gave up the linger because another process came
	Released                     // the baton was deleted by its holder
	DeleteRetried                // a delete had no answer, or was throttled
	Lost                         // the lease ended before its holder released it
	Renewed                      // the lease was extended
	RenewalRetried               // ... after more than one attempt
	RenewalFailed                // an attempt to extend it did not succeed
	Queued                       // there are others before our ticket
	Orphaned                     // everybody who waited here for the ticket has left
	GivenUp                      // marked our ticket as abandoned
	WitnessLeft                  // wrote down that a silent holder was seen
	Called                       // called a waiter, behind a silent head
	CallAnswered                 // answered a call for our ticket
	CallMissed                   // had not looked for so long that our ticket may have been struck
	Struck                       // deleted the baton of a waiter that did not answer
	SilenceProven                // concluded from the service's clock that a holder is dead
	Swept                        // deleted a leftover object

	// Of readers and writers.
	Registered   // wrote an entry into the registry
	Admitted     // the entry counts
	Overtaken    // ... came to nothing, for a later writer may not have seen it: wrote another
	Withdrawn    // took back an entry, or gave up a turn at the head
	EntryGone    // somebody left the registry
	EntryExpired // removed the entry of a silent reader
	Joined       // shared the entry of this process
	JoinRefused  // did not, because a writer has queued since
	events       // their number
)

var eventNames = [...]string{
	"base remembered", "base shown", "base probed", "probe missed", "base listed", "bootstrapped", "bootstrap undone",
	"create refused", "create adopted", "ghost deleted", "expired unseen", "chain learned",
	"claim expired", "ttl expired", "abandoned obeyed", "requeued", "granted",
	"passed", "pass limit", "lingered", "linger cut", "released", "delete retried", "lost", "renewed", "renewal retried", "renewal failed", "queued",
	"orphaned", "given up", "witness left", "called", "call answered", "call missed", "struck", "silence proven", "swept",
	"registered", "admitted", "overtaken", "withdrawn",
	"entry gone", "entry expired", "joined", "join refused",
}

var _ [events]struct{} = [len(eventNames)]struct{}{} // one name for each

func (e Event) String() string { return eventNames[e] }

// Shared reports whether e happens only to locks of readers and writers.
func (e Event) Shared() bool { return e >= Registered }

// Events returns all events there are.
func Events() []Event {
	all := make([]Event, events)
	for i := range all {
		all[i] = Event(i)
	}
	return all
}

// surprising reports whether an operator would want to know.
func (e Event) surprising() bool {
	switch e {
	case ClaimExpired, TTLExpired, Lost, Requeued, SilenceProven, EntryExpired:
		return true
	}
	return false
}
