package unpack_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/unpack"
)

func diffIDs(layers []unpack.Layer) []digest.Digest {
	var ids []digest.Digest
	for _, l := range layers {
		ids = append(ids, l.DiffID)
	}
	return ids
}

func streamLayerOf(data []byte) unpack.Layer { return streamLayer(data, data) }

func content(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "line %d of the file\n", i*i)
	}
	return b.String()[:n]
}

func TestCompressions(t *testing.T) {
	data := tarOf(t, file("a", content(3<<20)), file("b", "b"))
	half := len(data) / 2
	skippable := []byte{0x52, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'x', 'y', 'z'}
	padded := append(bytes.Clone(data), make([]byte, 100_000)...)
	for name, l := range map[string]unpack.Layer{
		"plain":                     streamLayer(data, data),
		"gzip":                      streamLayer(data, gzipped(t, data)),
		"gzip of two members":       streamLayer(data, append(gzipped(t, data[:half]), gzipped(t, data[half:])...)),
		"gzip with an empty member": streamLayer(data, append(gzipped(t, nil), append(gzipped(t, data), gzipped(t, nil)...)...)),
		"zstd":                      streamLayer(data, zstded(t, data)),
		"zstd of two frames":        streamLayer(data, append(zstded(t, data[:half]), zstded(t, data[half:])...)),
		"zstd skippable frames":     streamLayer(data, append(append(bytes.Clone(skippable), zstded(t, data)...), skippable...)),
		"zstd window of 64 MiB":     streamLayer(data, zstded(t, data, zstd.WithWindowSize(64<<20))),
		"padding after the end":     streamLayer(padded, gzipped(t, padded)),
		"no end-of-archive blocks":  streamLayer(data[:len(data)-1024], gzipped(t, data[:len(data)-1024])),
		"nothing known of stream":   {DiffID: digest.FromBytes(data), Size: -1, Open: opener(gzipped(t, data))},
		"size unknown":              {DiffID: digest.FromBytes(data), Digest: digest.FromBytes(data), Size: -1, Open: opener(data)},
	} {
		t.Run(name, func(t *testing.T) {
			got := snapshot(t, unpackAll(t, l)[0])
			if got["b"].Content != "b" || !strings.HasPrefix(got["a"].Content, "3145728 bytes") {
				t.Errorf("unpacked %+v", got)
			}
		})
	}
}

// Whatever is wrong with a stream, nothing of its layer is to be seen, and the right one unpacks afterwards.
func TestBadStreams(t *testing.T) {
	data := tarOf(t, file("a", content(3<<20)), file("b", "b"))
	other := tarOf(t, file("evil", ""))
	gz, zst := gzipped(t, data), zstded(t, data)
	good := streamLayer(data, gz)
	with := func(change func(*unpack.Layer)) unpack.Layer { l := good; change(&l); return l }
	sending := func(stream []byte) unpack.Layer { return with(func(l *unpack.Layer) { l.Open = opener(stream) }) }
	flip := func(data []byte, at int) []byte { c := bytes.Clone(data); c[at] ^= 0x40; return c }
	for name, c := range map[string]struct {
		layer unpack.Layer
		want  func(error) bool
	}{
		"last byte of gzip":           {sending(flip(gz, len(gz)-1)), isDigestError("layer")},
		"middle byte of gzip":         {sending(flip(gz, len(gz)/2)), isDigestError("layer")},
		"first byte of gzip":          {sending(flip(gz, 0)), isDigestError("layer")},
		"middle byte of zstd":         {streamFrom(streamLayer(data, zst), flip(zst, len(zst)/2)), isDigestError("layer")},
		"byte of a plain tar":         {streamFrom(streamLayerOf(data), flip(data, 2000)), isDigestError("layer")},
		"header of a plain tar":       {streamFrom(streamLayerOf(data), flip(data, 1030)), isDigestError("layer")},
		"another layer of that size":  {streamFrom(streamLayerOf(data), append(bytes.Clone(other), make([]byte, len(data)-len(other))...)), isDigestError("layer")},
		"truncated":                   {sending(gz[:len(gz)/2]), isSizeError},
		"truncated by a byte":         {sending(gz[:len(gz)-1]), isSizeError},
		"nothing":                     {sending(nil), isSizeError},
		"a byte too much":             {sending(append(bytes.Clone(gz), 0)), isSizeError},
		"a member too much":           {sending(append(bytes.Clone(gz), gz...)), isSizeError},
		"endless":                     {with(func(l *unpack.Layer) { l.Open = endless }), isSizeError},
		"right digest, wrong diffID":  {with(func(l *unpack.Layer) { l.DiffID = digest.FromString("x") }), isDigestError("diffID")},
		"bytes after the tar":         {streamLayer(data, gzipped(t, append(bytes.Clone(data), 1))), isDigestError("diffID")},
		"truncated, size unknown":     {with(func(l *unpack.Layer) { l.Size, l.Open = -1, opener(gz[:len(gz)/2]) }), is(io.ErrUnexpectedEOF)},
		"truncated, nothing known":    {unpack.Layer{DiffID: good.DiffID, Size: -1, Open: opener(gz[:len(gz)/2])}, is(io.ErrUnexpectedEOF)},
		"truncated tar":               {streamLayer(data[:5000], gzipped(t, data[:5000])), is(io.ErrUnexpectedEOF)},
		"error while reading":         {with(func(l *unpack.Layer) { l.Open = breaking(gz[:1000]) }), is(errBroken)},
		"error at open":               {with(func(l *unpack.Layer) { l.Open = func(context.Context) (io.ReadCloser, error) { return nil, errBroken } }), is(errBroken)},
		"garbage after gzip":          {garbageAfter(data, gz), func(err error) bool { return err != nil }},
		"xz":                          {streamLayer(data, []byte("\xfd7zXZ\x00\x00\x04")), says("compressed with xz")},
		"bzip2":                       {streamLayer(data, []byte("BZh91AY&SY\x00")), says("compressed with bzip2")},
		"zstd window beyond limit":    {hugeWindow(), func(err error) bool { return errors.Is(err, zstd.ErrWindowSizeExceeded) }},
		"diffID that is a path":       {with(func(l *unpack.Layer) { l.DiffID = digest.Digest("sha256:" + strings.Repeat("../", 20) + "etc/") }), is(digest.ErrDigestInvalidFormat)},
		"digest that is a path":       {with(func(l *unpack.Layer) { l.Digest = "../x" }), is(digest.ErrDigestInvalidFormat)},
		"diffID of another algorithm": {with(func(l *unpack.Layer) { l.DiffID = digest.SHA512.FromString("x") }), func(err error) bool { return err != nil }},
		"no diffID":                   {with(func(l *unpack.Layer) { l.DiffID = "" }), is(digest.ErrDigestInvalidFormat)},
	} {
		t.Run(name, func(t *testing.T) {
			s, root := openStore(t)
			if _, err := s.Unpack(t.Context(), []unpack.Layer{c.layer}, nil); !c.want(err) {
				t.Errorf("got error %v", err)
			}
			assertClean(t, root, 0)
			if s.Has(c.layer.DiffID) {
				t.Error("the store has the layer")
			}
			if _, err := s.Unpack(t.Context(), []unpack.Layer{good}, nil); err != nil {
				t.Errorf("the right layer afterwards: %v", err)
			}
		})
	}
}

func streamFrom(l unpack.Layer, stream []byte) unpack.Layer {
	l.Open = opener(stream)
	return l
}

func isDigestError(what string) func(error) bool {
	return func(err error) bool {
		var e *unpack.DigestError
		return errors.As(err, &e) && e.What == what
	}
}

func says(text string) func(error) bool {
	return func(err error) bool { return err != nil && strings.Contains(err.Error(), text) }
}

func isSizeError(err error) bool {
	var e *unpack.SizeError
	return errors.As(err, &e)
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

var errBroken = errors.New("connection broken")

func breaking(start []byte) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(start), errReader{errBroken})), nil
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func endless(context.Context) (io.ReadCloser, error) { return io.NopCloser(zeros{}), nil }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func garbageAfter(data, gz []byte) unpack.Layer {
	return streamLayer(data, append(bytes.Clone(gz), "garbage"...))
}

// hugeWindow is a zstd frame header that asks for a window of 2 GiB: RFC 8878, 3.1.1.1.2, exponent 21.
func hugeWindow() unpack.Layer {
	stream := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00}
	return streamLayer(nil, stream)
}

func TestCancelInTheMiddle(t *testing.T) {
	data := tarOf(t, file("a", content(3<<20)), file("b", "b"))
	s, root := openStore(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	closed := make(chan struct{})
	l := streamLayerOf(data)
	l.Open = func(context.Context) (io.ReadCloser, error) {
		// Sends a part and then hangs, as a dead registry does, until it is closed.
		return &hanging{Reader: bytes.NewReader(data[:1<<20]), hung: func() { cancel(errBroken) }, closed: closed}, nil
	}
	_, err := s.Unpack(ctx, []unpack.Layer{l}, nil)
	if !errors.Is(err, errBroken) {
		t.Errorf("got error %v, want the cause of the cancellation", err)
	}
	assertClean(t, root, 0)
	select {
	case <-closed:
	default:
		t.Error("the stream was not closed")
	}
}

type hanging struct {
	*bytes.Reader
	hung   func()
	closed chan struct{}
}

func (h *hanging) Read(p []byte) (int, error) {
	if n, err := h.Reader.Read(p); err == nil {
		return n, nil
	}
	h.hung()
	<-h.closed
	return 0, os.ErrClosed
}

func (h *hanging) Close() error { close(h.closed); return nil }

func TestOneBadLayerFailsTheImage(t *testing.T) {
	s, root := openStore(t)
	bad := streamFrom(layerOf(t, file("b", "")), nil)
	layers := []unpack.Layer{layerOf(t, file("a", "")), bad, layerOf(t, file("c", ""))}
	if _, err := s.Unpack(t.Context(), layers, nil); !isSizeError(err) || !strings.Contains(err.Error(), string(bad.DiffID)) {
		t.Errorf("got error %v, want a SizeError that names the layer", err)
	}
	if entries, err := os.ReadDir(filepath.Join(root, "tmp")); err != nil || len(entries) != 0 {
		t.Errorf("tmp has %v, error %v", entries, err)
	}
	if s.Has(bad.DiffID) {
		t.Error("the bad layer is to be seen")
	}
}

func TestProgress(t *testing.T) {
	data := tarOf(t, file("a", content(5<<20)))
	l := streamLayerOf(data)
	s, _ := openStore(t)
	var got []unpack.Progress
	for range 2 {
		if _, err := s.Unpack(t.Context(), []unpack.Layer{l}, func(p unpack.Progress) { got = append(got, p) }); err != nil {
			t.Fatal(err)
		}
	}
	var states []string
	for i, p := range got {
		if p.Layer != l.DiffID || p.Total != l.Size {
			t.Errorf("report %d is of %+v", i, p)
		}
		if i == 0 || got[i-1].State != p.State {
			states = append(states, string(p.State))
		}
	}
	if want := "waiting unpacking done present"; strings.Join(states, " ") != want {
		t.Errorf("states %q, want %q", states, want)
	}
	if done := got[len(got)-2]; done.Bytes != l.Size {
		t.Errorf("done after %d of %d bytes", done.Bytes, l.Size)
	}
	if len(got) < 7 {
		t.Errorf("%d reports for 5 MiB, want one a MiB", len(got))
	}
}

func TestLimits(t *testing.T) {
	var many []entry
	for i := range 100 {
		many = append(many, file(fmt.Sprint("f", i), ""))
	}
	for name, c := range map[string]struct {
		limits unpack.Limits
		layer  unpack.Layer
	}{
		"entries":                 {unpack.Limits{Entries: 99}, layerOf(t, many...)},
		"implied directories":     {unpack.Limits{Entries: 99}, layerOf(t, file(strings.Repeat("d/", 100)+"f", ""))},
		"depth":                   {unpack.Limits{Depth: 9}, layerOf(t, file(strings.Repeat("d/", 9)+"f", ""))},
		"bytes of files":          {unpack.Limits{Bytes: 1 << 20}, layerOf(t, file("a", content(1<<20)), file("b", "1"))},
		"bytes of headers":        {unpack.Limits{Bytes: 50 << 10}, layerOf(t, many...)},
		"bytes after the tar":     {unpack.Limits{Bytes: 1 << 20}, bomb(t, 2<<20)},
		"ratio of gzip":           {unpack.Limits{Ratio: 100}, bomb(t, 200<<20)},
		"ratio of zstd":           {unpack.Limits{}, zstdBomb(t, 200<<20)},
		"memory for directories":  {unpack.Limits{Memory: 4 << 10}, layerOf(t, dir("a", xattr("user.a", content(4<<10))))},
		"memory for whiteouts":    {unpack.Limits{Memory: 1 << 10}, layerOf(t, whiteout(".wh."+content(200)[:200]), whiteout(strings.Repeat("a/", 400)+".wh.b"))},
		"sparse file":             {unpack.Limits{Bytes: 1 << 30}, streamLayerOf(sparseTar(t, "s", 1<<40))},
		"sparse file, by default": {unpack.Limits{}, streamLayerOf(sparseTar(t, "s", 1<<40))},
	} {
		t.Run(name, func(t *testing.T) {
			s, root := openStore(t)
			s.Limits = c.limits
			if _, err := s.Unpack(t.Context(), []unpack.Layer{c.layer}, nil); !errors.Is(err, unpack.ErrTooLarge) {
				t.Errorf("got error %v, want ErrTooLarge", err)
			}
			assertClean(t, root, 0)
		})
	}
}

// bomb is a small gzip of an empty tar with many zeros behind its end.
func bomb(tb testing.TB, size int) unpack.Layer {
	data := make([]byte, size)
	return streamLayer(data, gzipped(tb, data))
}

// zstdBomb is the same as zstd, which makes 30,000 times less of it where gzip makes 1000 times less.
func zstdBomb(tb testing.TB, size int) unpack.Layer {
	data := make([]byte, size)
	return streamLayer(data, zstded(tb, data))
}

func TestGzipAtItsBestIsNoBomb(t *testing.T) {
	unpackAll(t, bomb(t, 200<<20))
}

func TestSparseFileStaysSparse(t *testing.T) {
	s, root := openStore(t)
	lowerdirs, err := s.Unpack(t.Context(), []unpack.Layer{streamLayerOf(sparseTar(t, "s", 8<<30))}, nil)
	if err != nil {
		t.Fatal(err)
	}
	pulled(t, s, "sparse", streamLayerOf(sparseTar(t, "s", 8<<30)))
	usage, err := s.Usage()
	if err != nil || usage[0].Bytes > 64<<10 {
		t.Errorf("%s takes up %v, error %v", root, usage, err)
	}
	assertSparse(t, filepath.Join(mounted(t, lowerdirs)[0], "s"), 8<<30)
}

// sparseTar is the tar of a sparse file with "end" as its last bytes, in the PAX format 1.0 of GNU tar.
func sparseTar(tb testing.TB, name string, size int64) []byte {
	tb.Helper()
	sparseMap := fmt.Sprintf("1\n%d\n3\n", size-3)
	body := sparseMap + strings.Repeat("\x00", 512-len(sparseMap)) + "end"
	header := tarOf(tb, file(name, body, at(time.Unix(0, 0)), format(tar.FormatUSTAR)))
	var records strings.Builder
	for _, r := range [][2]string{{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.name", name}, {"GNU.sparse.realsize", fmt.Sprint(size)}} {
		record := fmt.Sprintf(" %s=%s\n", r[0], r[1])
		n := len(record) + 2
		fmt.Fprintf(&records, "%d%s", n, record)
	}
	extended := tarOf(tb, file("pax", records.String(), at(time.Unix(0, 0)), format(tar.FormatUSTAR)))
	extended = extended[:len(extended)-1024]
	extended[156] = 'x'
	fixChecksum(extended)
	return append(extended, header...)
}

func assertSparse(tb testing.TB, path string, size int64) {
	tb.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		tb.Fatal(err)
	}
	if st.Size != size {
		tb.Errorf("%s has %d bytes, want %d", path, st.Size, size)
	}
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var end [4]byte
	if _, err := f.ReadAt(end[:], size-4); err != nil || string(end[:]) != "\x00end" {
		tb.Errorf("%s ends with %q, error %v", path, end, err)
	}
}

func TestFullDisk(t *testing.T) {
	needRoot(t)
	for name, c := range map[string]struct {
		options string
		layer   unpack.Layer
	}{
		"bytes in one file": {"size=16m", layerOf(t, file("a", content(20<<20)))},
		"bytes in many":     {"size=4m", layerOf(t, file("a", content(2<<20)), file("b", content(1<<20)), file("c", content(2<<20)))},
		"inodes":            {"nr_inodes=40", layerOf(t, file(strings.Repeat("d/", 50)+"f", ""))},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			if err := unix.Mount("tmpfs", root, "tmpfs", 0, c.options); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := unix.Unmount(root, 0); err != nil {
					t.Error(err)
				}
			})
			s, err := unpack.OpenStore(root)
			if err != nil {
				t.Fatal(err)
			}
			closeStore(t, s)
			_, err = s.Unpack(t.Context(), []unpack.Layer{c.layer}, nil)
			if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), root) {
				t.Errorf("got error %v, want ENOSPC that names %s", err, root)
			}
			assertClean(t, root, 0)
			if _, err := s.Unpack(t.Context(), []unpack.Layer{layerOf(t, file("small", ""))}, nil); err != nil {
				t.Errorf("a small layer afterwards: %v", err)
			}
		})
	}
}
