package erofs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/unpack/erofs"
)

func TestAnEmptyImageIsItsRoot(t *testing.T) {
	newImage(t).compare(&erofs.Inode{Mode: unix.S_IFDIR | 0o1777, UID: 7, GID: 8, Mtime: unix.Timespec{Sec: 9, Nsec: 10}})
}

func TestEveryTypeOfFileKeepsItsMetadata(t *testing.T) {
	m := newImage(t)
	file := m.regular("content")
	file.Mode, file.UID, file.GID = unix.S_IFREG|0o7777, 1<<32-2, 65536
	m.compare(&erofs.Inode{Mode: unix.S_IFDIR | 0o2751, Entries: names{
		"file":       file,
		"empty":      m.regular(""),
		"none":       {Mode: unix.S_IFREG},
		"dir":        {Mode: unix.S_IFDIR | 0o700, UID: 1, GID: 2, Mtime: unix.Timespec{Sec: 1e9, Nsec: 999_999_999}},
		"symlink":    {Mode: unix.S_IFLNK | 0o777, Target: "dir/../file", UID: 3, GID: 4, Mtime: unix.Timespec{Sec: 5}},
		"fifo":       {Mode: unix.S_IFIFO | 0o640, GID: 5},
		"socket":     {Mode: unix.S_IFSOCK | 0o600},
		"null":       {Mode: unix.S_IFCHR | 0o666, Rdev: unix.Mkdev(1, 3)},
		"largest":    {Mode: unix.S_IFBLK | 0o660, Rdev: unix.Mkdev(1<<12-1, 1<<20-1)},
		"minor":      {Mode: unix.S_IFCHR | 0o660, Rdev: unix.Mkdev(259, 256)},
		"whiteout":   {Mode: unix.S_IFCHR},
		"before":     {Mode: unix.S_IFREG, Mtime: seconds(-1e10, 1)},
		"earliest":   {Mode: unix.S_IFREG, Mtime: seconds(math.MinInt64, 0)},
		"latest":     {Mode: unix.S_IFREG, Mtime: seconds(math.MaxInt64, 999_999_999)},
		"\n\x1b\xff": {Mode: unix.S_IFREG},
		"!before .":  {Mode: unix.S_IFREG},
		"...":        {Mode: unix.S_IFREG},
		".-":         {Mode: unix.S_IFREG},
	}})
}

func TestNanosecondsAreClamped(t *testing.T) {
	m := newImage(t)
	dir := m.mount(directory(names{
		"low":  {Mode: unix.S_IFREG, Mtime: seconds(5, -1)},
		"high": {Mode: unix.S_IFREG, Mtime: seconds(5, 1e9)},
	}))
	for name, want := range map[string]int64{"low": 0, "high": 999_999_999} {
		if got := snapshot(t, dir)[name].Mtime; got != seconds(5, want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestContentsOfAllSizes(t *testing.T) {
	m := newImage(t)
	entries := names{}
	for _, size := range []int{0, 1, 4095, 4096, 4097, 8191, 8192, 512<<10 - 4097, 512<<10 - 1, 512 << 10, 512<<10 + 1, 3 << 20} {
		content := strings.Repeat(fmt.Sprintf("%09d\n", size), size/10+1)[:size]
		entries[fmt.Sprint(size)] = m.regular(content)
	}
	m.compare(directory(entries))
}

func TestContentIsAppendedInPieces(t *testing.T) {
	m := newImage(t)
	var want strings.Builder
	for i := range 3000 {
		piece := strings.Repeat(string(rune('a'+i%26)), i%997)
		want.WriteString(piece)
		if err := m.Append([]byte(piece)); err != nil {
			t.Fatal(err)
		}
	}
	n := &erofs.Inode{Mode: unix.S_IFREG, Content: m.EndFile()}
	if got := n.Content.Size(); got != int64(want.Len()) {
		t.Errorf("the extent has %d bytes, want %d", got, want.Len())
	}
	m.contents[n] = want.String()
	m.compare(directory(names{"file": n, "next": m.regular("next")}))
}

// A hard link is one inode with many names; more of them than 16 bits count, in several directories.
func TestHardLinks(t *testing.T) {
	m := newImage(t)
	shared := map[string]*erofs.Inode{
		"file": m.regular("shared"), "symlink": symlink("t"), "device": {Mode: unix.S_IFCHR, Rdev: unix.Mkdev(1, 3)},
	}
	root := directory(names{"a": directory(names{}), "b": directory(names{})})
	for name, n := range shared {
		root.Entries[name], root.Entries["a"].Entries[name], root.Entries["b"].Entries["other "+name] = n, n, n
	}
	m.compare(root)
}

func TestMoreThan65535NamesOfAFile(t *testing.T) {
	m := newImage(t)
	n, entries := m.regular("x"), names{}
	for i := range 70_000 {
		entries[fmt.Sprint(i)] = n
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(m.mount(directory(entries)), "69999"), &st); err != nil || st.Nlink != 70_000 {
		t.Errorf("%d links, %v", st.Nlink, err)
	}
}

// Metadata without room is seen before any of it is written, so a smaller tree can still be.
func TestMetadataBeyondTheEndIsNotBegun(t *testing.T) {
	w := newImage(t).Writer
	if err := w.Hole((1<<32 - 3) * 4096); err != nil { // then one block is left
		t.Fatal(err)
	}
	n := &erofs.Inode{Mode: unix.S_IFREG, Content: w.EndFile()}
	root := directory(names{"file": n, "link": symlink(strings.Repeat("t", 4095))})
	if err := w.Finish(root); !errors.Is(err, erofs.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if err := w.Append(nil); err != nil {
		t.Errorf("the writer is of no use any more: %v", err)
	}
}

// The last address of 32 bits means none, so 2^32-1 blocks are all, with the superblock and the metadata.
func TestImagesEndAt16TiB(t *testing.T) {
	const all = (1<<32 - 1) * 4096
	for name, fill := range map[string]func(*erofs.Writer) error{
		"hole":     func(w *erofs.Writer) error { return w.Hole(all - 4096 + 1) },
		"overflow": func(w *erofs.Writer) error { return w.Hole(math.MaxInt64) },
		"content": func(w *erofs.Writer) error {
			return errors.Join(w.Hole(all-4096), w.Append([]byte{1}))
		},
		"metadata": func(w *erofs.Writer) error {
			err := w.Hole(all - 4096)
			e := w.EndFile()
			return errors.Join(err, w.Finish(directory(names{"file": {Mode: unix.S_IFREG, Content: e}})))
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newImage(t)
			if err := fill(m.Writer); !errors.Is(err, erofs.ErrTooLarge) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestEqualInputGivesEqualImages(t *testing.T) {
	build := func() []byte {
		m := newImage(t)
		root := directory(names{})
		for i := range 500 {
			n := m.regular(fmt.Sprint("content", i))
			n.Xattrs = map[string]string{"user.a": "1", "user.b": "2", "trusted.c": "3", "security.d": "4"}
			root.Entries[fmt.Sprint("file", i)] = n
			root.Entries[fmt.Sprint("dir", i)] = directory(names{"a": n, "b": symlink("b"), "c": directory(nil)})
		}
		m.finish(root)
		data, err := io.ReadAll(io.NewSectionReader(m.file, 0, m.Size()))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	first := build()
	for range 3 {
		if !bytes.Equal(first, build()) {
			t.Error("the images differ")
		}
	}
}

// Overlayfs gives up some of its features above file systems without a UUID or with the same one.
func TestEveryImageHasItsOwnUUID(t *testing.T) {
	seen := map[string]bool{string(make([]byte, 16)): true}
	for _, content := range []string{"", "a", "b"} {
		m := newImage(t)
		m.finish(directory(names{"file": m.regular(content)}))
		uuid := make([]byte, 16)
		if _, err := m.file.ReadAt(uuid, 1024+48); err != nil || seen[string(uuid)] {
			t.Errorf("UUID %x, %v", uuid, err)
		}
		seen[string(uuid)] = true
	}
}

// A full disk is seen wherever it is met: in contents, in metadata, in the superblock.
func TestErrorsOfWritingComeBack(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, name := range []string{"content", "hole", "metadata"} {
		t.Run(name, func(t *testing.T) {
			w := erofs.NewWriter(full)
			root := directory(names{})
			switch name {
			case "content":
				err = w.Append(make([]byte, 1<<20))
			case "hole":
				err = errors.Join(w.Append([]byte{1}), w.Hole(1<<20))
			case "metadata":
				for i := range 10_000 {
					root.Entries[fmt.Sprint(i)] = &erofs.Inode{Mode: unix.S_IFREG}
				}
				err = w.Finish(root)
			}
			if !errors.Is(err, unix.ENOSPC) {
				t.Errorf("got %v", err)
			}
			if err := w.Append([]byte{1}); !errors.Is(err, unix.ENOSPC) {
				t.Errorf("the next Append: %v", err)
			}
			if w.EndFile(); !errors.Is(w.Finish(root), unix.ENOSPC) {
				t.Error("Finish forgot it")
			}
		})
	}
}

// firstBlockFull takes everything but the superblock.
type firstBlockFull struct{ io.WriterAt }

func (f firstBlockFull) WriteAt(p []byte, offset int64) (int, error) {
	if offset == 0 {
		return 0, unix.ENOSPC
	}
	return f.WriterAt.WriteAt(p, offset)
}

func TestAnErrorOfTheSuperblockComesBack(t *testing.T) {
	m := newImage(t)
	if err := erofs.NewWriter(firstBlockFull{m.file}).Finish(directory(nil)); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v", err)
	}
}

func TestNothingIsAddedToAFinishedImage(t *testing.T) {
	m := newImage(t)
	root := directory(names{"a": m.regular("a")})
	m.finish(root)
	if m.Append([]byte{1}) == nil || m.Hole(1) == nil || m.Finish(root) == nil {
		t.Error("no error")
	}
	if err := erofs.Check(m.file, m.Size(), m.Sum()); err != nil {
		t.Error(err)
	}
}

func TestFinishWantsTheLastFileEnded(t *testing.T) {
	m := newImage(t)
	if err := m.Append([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := m.Finish(directory(nil)); err == nil {
		t.Error("no error")
	}
	m.EndFile()
	m.compare(directory(nil))
}

// seconds is a time in the width that this machine's system calls have.
func seconds(whole, nanoseconds int64) unix.Timespec {
	var t unix.Timespec
	assign(&t.Sec, whole)
	assign(&t.Nsec, nanoseconds)
	return t
}

func assign[T int32 | int64](to *T, value int64) { *to = T(value) }
