package conformance

import (
	"bytes"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"

	"cloud.google.com/go/storage"
)

// read returns the content of an object. The client checks the checksum.
func (f *fixture) read(t *testing.T, name string) string {
	t.Helper()
	r, err := f.object(name).NewReader(t.Context())
	if err != nil {
		t.Errorf("read of %q: %v", name, err)
		return ""
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Errorf("read of %q: %v", name, err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("read of %q: %v", name, err)
	}
	return string(b)
}

func testMedia(t *testing.T, f *fixture) {
	ctx := t.Context()
	content := randomBytes(100_000)
	a := f.create(t, "o", string(content))
	if want := crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli)); a.CRC32C != want {
		t.Errorf("crc32c %#x, want %#x", a.CRC32C, want)
	}
	if got := f.read(t, "o"); got != string(content) {
		t.Error("the content changed on the way")
	}
	for _, c := range [...]struct {
		offset, length int64
		want           []byte
	}{
		{0, 10, content[:10]},
		{99_990, -1, content[99_990:]},
		{-7, -1, content[99_993:]},
		{50_000, 1_000, content[50_000:51_000]},
		{99_999, 100, content[99_999:]},
		{0, 0, nil},
	} {
		r, err := f.object("o").NewRangeReader(ctx, c.offset, c.length)
		if err != nil {
			t.Errorf("range %d+%d: %v", c.offset, c.length, err)
			continue
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("range %d+%d: %d bytes, %v; want %d", c.offset, c.length, len(got), err, len(c.want))
		}
		if r.Attrs.Size != int64(len(content)) || r.Attrs.Generation != a.Generation {
			t.Errorf("range %d+%d: attributes %+v", c.offset, c.length, r.Attrs)
		}
		_ = r.Close() // nothing was written
	}
	_, err := f.object("o").NewRangeReader(ctx, 100_000, -1)
	wantCode(t, "range behind the end", err, http.StatusRequestedRangeNotSatisfiable)

	f.create(t, "empty", "")
	if got := f.read(t, "empty"); got != "" {
		t.Errorf("an empty object has content %q", got)
	}
}

func testWrongChecksum(t *testing.T, f *fixture) {
	_, err := write(t.Context(), f.object("o"), "hello", func(w *storage.Writer) {
		w.SendCRC32C, w.CRC32C = true, 12345
	})
	wantCode(t, "upload with a wrong crc32c", err, http.StatusBadRequest)
	_, err = write(t.Context(), f.object("o"), "hello", func(w *storage.Writer) { w.MD5 = make([]byte, 16) })
	wantCode(t, "upload with a wrong md5", err, http.StatusBadRequest)
	if names := f.names(t, storage.Query{}, 0); len(names) != 0 {
		t.Errorf("refused uploads made %q", names)
	}
}

// inChunks makes an upload resumable, and its parts as small as possible.
func inChunks(w *storage.Writer) { w.ChunkSize = 256 << 10 }

func testResumable(t *testing.T, f *fixture) {
	for _, size := range [...]int{0, 1, 256<<10 - 1, 256 << 10, 256<<10 + 1, 3 * 256 << 10, 700_000} {
		content := randomBytes(size)
		a, err := write(t.Context(), f.object("o"), string(content), inChunks, withMetadata(map[string]string{"k": "v"}))
		if err != nil {
			t.Errorf("upload of %d bytes: %v", size, err)
			continue
		}
		if a.Size != int64(size) || a.Metadata["k"] != "v" || a.Metageneration != 1 {
			t.Errorf("upload of %d bytes made %+v", size, a)
		}
		if got := f.read(t, "o"); got != string(content) {
			t.Errorf("the content of %d bytes changed on the way", size)
		}
	}
}

func testResumableConditions(t *testing.T, f *fixture) {
	ctx, content := t.Context(), string(randomBytes(600_000))
	absent := storage.Conditions{DoesNotExist: true}
	a, err := write(ctx, f.object("o").If(absent), content, inChunks)
	if err != nil {
		t.Fatal(err)
	}
	_, err = write(ctx, f.object("o").If(absent), content, inChunks)
	wantCode(t, "resumable create of what exists", err, http.StatusPreconditionFailed)
	if _, err := write(ctx, f.object("o").If(storage.Conditions{GenerationMatch: a.Generation}), content, inChunks); err != nil {
		t.Errorf("resumable overwrite: %v", err)
	}

	// The condition must hold at the end of the upload, not at its start.
	w := f.object("late").If(absent).NewWriter(ctx)
	inChunks(w)
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	f.create(t, "late", "first")
	wantCode(t, "resumable create that was overtaken", w.Close(), http.StatusPreconditionFailed)
	if got := f.read(t, "late"); got != "first" {
		t.Errorf("the upload that was overtaken left %d bytes", len(got))
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rng := rand.New(rand.NewPCG(uint64(n), 0))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}
