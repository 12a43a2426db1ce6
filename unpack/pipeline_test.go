package unpack_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/unpack"
)

// inStages is the layer with an unknown size, so that it is taken for a large one: with goroutines and writers.
func inStages(l unpack.Layer) unpack.Layer {
	l.Size = -1
	return l
}

// Names that come again while their file may still be with a writer: replaced, linked to, removed with their
// directory, and files that go over many batches.
func TestLargeLayerEqualsSmallOne(t *testing.T) {
	text := content(1 << 20)
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 7))
		var entries []entry
		for range 400 {
			name := fmt.Sprintf("%c/%d", 'a'+r.IntN(3), r.IntN(40))
			opts := []option{
				mode([]int64{0o644, 0o4755, 0o600, 0o1777, 0}[r.IntN(5)]), owner(r.IntN(2), r.IntN(2)),
				at(time.Unix(int64(r.IntN(1e9)), int64(r.IntN(1e9)))),
			}
			switch r.IntN(40) {
			case 0:
				entries = append(entries, file(name, text[:r.IntN(len(text))], opts...))
			case 1:
				entries = append(entries, dir(name, opts...))
			case 2:
				entries = append(entries, file(name[:1], "in place of a directory", opts...), dir(name[:1], opts...))
			case 3:
				entries = append(entries, file(name, "", append(opts, xattr("user.k", "v"))...))
			case 4, 5, 6, 7:
				entries = append(entries, file("z/"+name[2:], text[:5], opts...), dir(name[:1]), link(name, "z/"+name[2:]))
			case 8:
				entries = append(entries, symlink(name, name, opts...))
			default:
				entries = append(entries, file(name, text[:r.IntN(3000)], opts...))
			}
		}
		data := tarOf(t, entries...)
		small := streamLayer(data, zstded(t, data))
		if small.Size > 256<<10 {
			t.Fatalf("the layer has %d bytes: too many for a small one", small.Size)
		}
		want := snapshot(t, unpackAll(t, small)[0])
		if diff := cmp.Diff(want, snapshot(t, unpackAll(t, inStages(small))[0])); diff != "" {
			t.Fatalf("seed %d: trees differ (-small +large):\n%s", seed, diff)
		}
	}
}

// A layer that is over before its stream is must not wait for a source that hangs.
func TestErrorEndsLayerWhoseSourceHangs(t *testing.T) {
	data := tarOf(t, file("a", content(3<<20)), file("b", content(3<<20)))
	for name, c := range map[string]struct {
		limits unpack.Limits
		size   int64
		data   []byte
		want   func(error) bool
	}{
		"limit":             {unpack.Limits{Bytes: 1 << 20}, int64(len(data)) + 1, data, is(unpack.ErrTooLarge)},
		"limit, no size":    {unpack.Limits{Bytes: 1 << 20}, -1, data, is(unpack.ErrTooLarge)},
		"bad name, no size": {unpack.Limits{}, -1, tarOf(t, file("../x", ""), file("b", content(3<<20))), isEntryError},
	} {
		t.Run(name, func(t *testing.T) {
			s, root := openStore(t)
			s.Limits = c.limits
			closed := make(chan struct{})
			l := streamLayerOf(data)
			l.Size = c.size
			l.Open = func(context.Context) (io.ReadCloser, error) {
				return &hanging{Reader: bytes.NewReader(c.data), hung: func() {}, closed: closed}, nil
			}
			if _, err := s.Unpack(t.Context(), []unpack.Layer{l}, nil); !c.want(err) {
				t.Errorf("got error %v", err)
			}
			assertClean(t, root, 0)
			assertNoGoroutines(t)
		})
	}
}

func isEntryError(err error) bool {
	var e *unpack.EntryError
	return errors.As(err, &e)
}

// However a large layer ends, its goroutines and descriptors end with it.
func TestLargeLayerLeavesNothingRunning(t *testing.T) {
	data := tarOf(t, file("a", content(3<<20)), file("b", content(2<<20)))
	gz := gzipped(t, data)
	evil := tarOf(t, file("a", content(3<<20)), file("../b", content(2<<20)))
	for name, l := range map[string]unpack.Layer{
		"well":             streamLayer(data, gz),
		"cut":              inStages(streamFrom(streamLayer(data, gz), gz[:len(gz)/2])),
		"broken":           inStages(streamFrom(streamLayer(data, gz), append(gz[:1000:1000], gz[2000:]...))),
		"refused":          inStages(streamLayer(evil, gzipped(t, evil))),
		"refused, in full": streamLayer(evil, evil),
		"another tar":      inStages(streamFrom(streamLayer(evil, gz), gz)),
		"no gzip":          inStages(streamFrom(streamLayer(data, gz), []byte{0x1f, 0x8b, 0})),
		"zstd, broken":     inStages(streamLayer(data, zstded(t, data)[:10000])),
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := openStore(t)
			descriptors := openDescriptors(t)
			_, err := s.Unpack(t.Context(), []unpack.Layer{l}, nil)
			if (err == nil) != (name == "well") {
				t.Errorf("got error %v", err)
			}
			assertNoGoroutines(t)
			if err != nil && openDescriptors(t) != descriptors { // a good layer is held
				t.Errorf("%d descriptors are open, %d were", openDescriptors(t), descriptors)
			}
		})
	}
}

// assertNoGoroutines fails if a goroutine that the package has started still runs code of it.
func assertNoGoroutines(tb testing.TB) {
	tb.Helper()
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		calls, _, _ := strings.Cut(stack, "created by")
		if strings.Contains(calls, "stepexec/unpack.") || strings.Contains(calls, "stepexec/unpack/gunzip.") {
			tb.Errorf("still running:\n%s", stack)
		}
	}
}

func openDescriptors(tb testing.TB) int {
	tb.Helper()
	n := 0
	for fd := range 1024 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			n++
		}
	}
	return n
}

// A umask that takes permissions away, and a default ACL above the store, must not show in the layer.
func TestModesDoNotDependOnTheSurroundings(t *testing.T) {
	// struct posix_acl_xattr: version 2, user::rwx user:7:rwx group::--- mask::rwx other::---.
	acl := "\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x02\x00\x07\x00\x07\x00\x00\x00" +
		"\x04\x00\x00\x00\xff\xff\xff\xff\x10\x00\x07\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff"
	l := layerOf(t, file("a", "", mode(0o666)), file("b", "", mode(0o4711), owner(5, 5)), dir("d", mode(0o777)), file("d/c", "", mode(0o644)))
	want := snapshot(t, unpackAll(t, l)[0])
	for _, mask := range []int{0, 0o022, 0o777} {
		parent := plainDir(t)
		if err := unix.Setxattr(parent, "system.posix_acl_default", []byte(acl), 0); err != nil {
			t.Fatal(err)
		}
		s := reopen(t, parent+"/store")
		old := unix.Umask(mask)
		dirs, err := s.Unpack(t.Context(), []unpack.Layer{inStages(l)}, nil)
		unix.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, snapshot(t, mounted(t, dirs)[0])); diff != "" {
			t.Errorf("umask %o: tree differs (-plain +got):\n%s", mask, diff)
		}
	}
}
