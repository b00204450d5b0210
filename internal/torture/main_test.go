//go:build unix

package torture

import (
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain is the start of the parent, and of the processes that it makes of the same program.
func TestMain(m *testing.M) {
	if config := os.Getenv(envProcess); config != "" {
		os.Exit(process(config))
	}
	goleak.VerifyTestMain(m)
}

// duration returns for how long to run, and skips the test if nobody says so.
func duration(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("GCSYNC_TORTURE")
	if text == "" {
		t.Skip("runs real processes for as long as GCSYNC_TORTURE says, such as GCSYNC_TORTURE=60s")
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		t.Fatalf("GCSYNC_TORTURE=%s is no duration: %v", text, err)
	}
	return d
}
