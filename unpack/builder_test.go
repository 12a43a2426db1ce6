package unpack_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/stepexec/stepexec/unpack"
)

// An entry is one header and its content; the functions below make tars that read like the attack.
type entry struct {
	tar.Header
	content string
	raw     []byte // written as it is, in place of the header
}

type option func(*entry)

// mtime is what entries have unless they say otherwise: with nanoseconds.
var mtime = time.Date(2021, 3, 4, 5, 6, 7, 123456789, time.UTC)

func make1(kind byte, name string, opts []option) entry {
	e := entry{Header: tar.Header{Typeflag: kind, Name: name, Mode: 0o644, ModTime: mtime, Format: tar.FormatPAX}}
	for _, o := range opts {
		o(&e)
	}
	return e
}

func file(name, content string, opts ...option) entry {
	e := make1(tar.TypeReg, name, opts)
	e.content, e.Size = content, int64(len(content))
	return e
}

func dir(name string, opts ...option) entry {
	return make1(tar.TypeDir, name, append([]option{mode(0o755)}, opts...))
}

func symlink(name, target string, opts ...option) entry {
	e := make1(tar.TypeSymlink, name, opts)
	e.Linkname = target
	return e
}

func link(name, target string, opts ...option) entry {
	e := make1(tar.TypeLink, name, opts)
	e.Linkname = target
	return e
}

func char(name string, major, minor int64, opts ...option) entry {
	e := make1(tar.TypeChar, name, opts)
	e.Devmajor, e.Devminor = major, minor
	return e
}

func block(name string, major, minor int64, opts ...option) entry {
	e := char(name, major, minor, opts...)
	e.Typeflag = tar.TypeBlock
	return e
}

func fifo(name string, opts ...option) entry { return make1(tar.TypeFifo, name, opts) }

// whiteout removes path of the lower layers.
func whiteout(path string) entry { return file(path, "") }

func mode(m int64) option        { return func(e *entry) { e.Mode = m } }
func owner(uid, gid int) option  { return func(e *entry) { e.Uid, e.Gid = uid, gid } }
func at(when time.Time) option   { return func(e *entry) { e.ModTime = when } }
func kind(flag byte) option      { return func(e *entry) { e.Typeflag = flag } }
func format(f tar.Format) option { return func(e *entry) { e.Format = f } }

func xattr(name, value string) option { return pax("SCHILY.xattr."+name, value) }

func pax(key, value string) option {
	return func(e *entry) {
		if e.PAXRecords == nil {
			e.PAXRecords = map[string]string{}
		}
		e.PAXRecords[key] = value
	}
}

// tarOf writes the entries as a tar.
func tarOf(tb testing.TB, entries ...entry) []byte {
	tb.Helper()
	var buf bytes.Buffer
	for _, e := range entries {
		if e.raw != nil {
			buf.Write(e.raw)
			continue
		}
		// One writer an entry: the writer of a hostile tar must not check the whole.
		w := tar.NewWriter(&buf)
		if err := w.WriteHeader(&e.Header); err != nil {
			tb.Fatalf("write header of %.100q: %v", e.Name, err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			tb.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			tb.Fatal(err)
		}
	}
	buf.Write(make([]byte, 1024))
	return buf.Bytes()
}

// layerOf is the layer of an uncompressed tar.
func layerOf(tb testing.TB, entries ...entry) unpack.Layer {
	tb.Helper()
	data := tarOf(tb, entries...)
	return streamLayer(data, data)
}

// streamLayer is a layer with the tar and what a registry would send for it.
func streamLayer(tarData, stream []byte) unpack.Layer {
	return unpack.Layer{
		DiffID: digest.FromBytes(tarData),
		Digest: digest.FromBytes(stream),
		Size:   int64(len(stream)),
		Open:   opener(stream),
	}
}

func opener(stream []byte) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(stream)), nil }
}

func gzipped(tb testing.TB, data []byte) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(data); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

func zstded(tb testing.TB, data []byte, opts ...zstd.EOption) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w, err := zstd.NewWriter(&buf, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

// wide is a number that an int has on machines of 64 bits only.
func wide(n int64) int { return int(n) }
