package gcsync_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The packages of the module and what each may import of it. Arrows go one way: the primitives stand on the queue, the
// queue on the lease, the lease on the objects; what tests run on stands apart.
var layers = map[string][]string{
	"internal/clock":         {},
	"internal/tasks":         {},
	"tracing":                {},
	"internal/telemetry":     {"tracing"},
	"internal/object":        {"internal/clock", "internal/telemetry", "tracing"},
	"lease":                  {"internal/clock", "internal/object", "internal/tasks", "tracing"},
	"internal/queue":         {"internal/clock", "internal/object", "internal/tasks", "internal/telemetry", "lease", "tracing"},
	"":                       {"internal/clock", "internal/object", "internal/queue", "internal/tasks", "internal/telemetry", "lease", "tracing"},
	"gcstest":                {},
	"gcstest/conformance":    {"gcstest"},
	"fence":                  {"internal/object", "lease"},
	"bench":                  {"bench/internal/harness"},
	"bench/internal/harness": {"", "gcstest", "lease"},
	"bench/peers":            {"bench/internal/harness", "gcstest"},
	"examples/hello":         {""},
	"examples/tracing":       {"", "gcstest"},
	"cmd/gcsync":             {"", "gcstest", "lease"},

	"cmd/gcsync/internal/record": {},
}

func TestLayers(t *testing.T) {
	const module = "github.com/gcsync/gcsync"
	seen := make(map[string]bool)
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		dir := strings.TrimPrefix(path.Dir(filepath.ToSlash(file)), ".")
		allowed, known := layers[dir]
		if !known {
			t.Errorf("%s: package %q has no place among the layers: give it one", file, dir)
			return nil
		}
		seen[dir] = true
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			ours, inside := strings.CutPrefix(imported, module)
			switch {
			case inside && !slices.Contains(allowed, strings.TrimPrefix(ours, "/")):
				t.Errorf("%s imports %s: the arrow goes the wrong way", file, imported)
			case strings.HasPrefix(imported, "google.golang.org/api/") && dir != "internal/object" && !strings.HasPrefix(dir, "bench/") && dir != "cmd/gcsync" && !strings.HasPrefix(dir, "gcstest"):
				t.Errorf("%s imports %s: only internal/object knows how the service speaks", file, imported)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir := range layers {
		if !seen[dir] {
			t.Errorf("package %q is not there any more: take it off the list", dir)
		}
	}
}
