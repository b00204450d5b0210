package main

import (
	"os"
	"strings"
	"testing"

	"github.com/gcsync/gcsync/gcstest"
)

// The program runs, and is the one that README begins with.
func TestHello(t *testing.T) {
	server := gcstest.New(gcstest.Model{})
	defer server.Close()
	server.CreateBucket("bbb", gcstest.BucketConfig{})
	listener, err := server.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	t.Setenv("STORAGE_EMULATOR_HOST", listener.URL())
	if err := run(t.Context(), "bbb"); err != nil {
		t.Error(err)
	}

	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, first, _ := strings.Cut(string(readme), "```go\n")
	first, _, _ = strings.Cut(first, "```\n")
	if _, program, _ := strings.Cut(string(source), "\n"); first != program {
		t.Error("README does not begin with examples/hello/main.go")
	}
}
