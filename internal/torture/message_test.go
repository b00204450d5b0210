//go:build unix

package torture

// config is what a process is told when it starts.
type config struct {
	Name     string // no other process has or had it
	Endpoint string // of the service
	Workers  int    // how many goroutines take turns
	Fenced   bool   // whether the object checks tokens
	Once     bool   // one update only, and wait for a word before it is written
}

// envProcess is the environment variable that holds the config, in JSON.
const envProcess = "GCSYNC_TORTURE_PROCESS"

// kind is what a process has to tell.
type kind string

const (
	entered  kind = "entered" // it holds the lock
	haveRead kind = "read"    // it has read the object and is about to write an update
	acked    kind = "acked"   // the update was written
	refused  kind = "refused" // it was not: the token is stale
	unknown  kind = "unknown" // it may have been written or not
	lost     kind = "lost"    // the lock was lost before it was released
	failed   kind = "failed"  // something else went wrong, before anything was written
)

// message is one line from a process to the parent, in JSON.
type message struct {
	Kind  kind
	ID    string `json:",omitempty"` // of the update
	Token int64  `json:",omitempty"`
	Error string `json:",omitempty"`
}

// update is one entry of the object that the processes share, a list in JSON.
type update struct {
	ID    string
	Token int64
}

const (
	bucket = "torture"
	shared = "state.json"
)
