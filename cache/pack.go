package cache

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
)

// Limits bound a cache. A zero field means the default.
type Limits struct {
	Bytes int64 // of all files; default 5 GiB
	Files int   // number of files, folders and links; default 2,000,000
	Paths int   // bytes of the paths of folders and of files with several names, which are kept in memory; default 128 MiB
}

// The default limits.
const (
	DefaultBytes = 5 << 30
	DefaultFiles = 2_000_000
	DefaultPaths = 128 << 20
)

func (l Limits) orDefault() Limits {
	if l.Bytes == 0 {
		l.Bytes = DefaultBytes
	}
	if l.Files == 0 {
		l.Files = DefaultFiles
	}
	if l.Paths == 0 {
		l.Paths = DefaultPaths
	}
	return l
}

// keep counts the length of a path that is kept.
func (l Limits) keep(paths *int, path string) error {
	if *paths += len(path); *paths > l.Paths {
		return fmt.Errorf("the paths of its folders, and of its files with several names, have more than %d bytes", l.Paths)
	}
	return nil
}

// packing is the work on one archive. It is a tar, compressed with zstd, whose first entry is the
// folder itself. Devices, FIFOs and sockets are left out.
type packing struct {
	ctx    context.Context
	tar    *tar.Writer
	top    string // name of the folder
	limits Limits
	files  int
	bytes  int64
	paths  int              // bytes of the paths that are kept here, or will be by unpacking
	links  map[inode]string // files with several names, to the first one
}

type inode struct{ device, number uint64 }

// pack writes what is in a folder, which no process changes any more.
func pack(ctx context.Context, w io.Writer, from string, l Limits) (files int, bytes int64, err error) {
	compressed, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, compressed.Close()) }()
	root, err := os.OpenFile(from, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return 0, 0, err
	}
	defer root.Close()
	p := &packing{ctx: ctx, tar: tar.NewWriter(compressed), top: root.Name(), limits: l, links: map[inode]string{}}
	var st unix.Stat_t
	if err := unix.Fstat(int(root.Fd()), &st); err != nil {
		return 0, 0, &os.PathError{Op: "stat", Path: from, Err: err}
	}
	if err := p.tar.WriteHeader(headerOf(&st, "./", tar.TypeDir)); err != nil {
		return 0, 0, err
	}
	if err := beneath.Walk(root, beneath.Visitor{Entry: p.entry}); err != nil {
		return 0, 0, err
	}
	return p.files, p.bytes, p.tar.Close()
}

func (p *packing) entry(dir *os.File, base string) (enter bool, err error) {
	if p.ctx.Err() != nil {
		return false, context.Cause(p.ctx)
	}
	if len(dir.Name())+1+len(base) >= unix.PathMax {
		return false, fmt.Errorf("a path is longer than %d bytes", unix.PathMax)
	}
	name := path.Join(strings.TrimPrefix(strings.TrimPrefix(dir.Name(), p.top), "/"), base)
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFDIR && kind != unix.S_IFREG && kind != unix.S_IFLNK {
		return false, nil
	}
	if p.files++; p.files > p.limits.Files {
		return false, fmt.Errorf("it has more than %d files", p.limits.Files)
	}
	if kind == unix.S_IFDIR || kind == unix.S_IFREG && st.Nlink > 1 {
		if err := p.limits.keep(&p.paths, name); err != nil {
			return false, err
		}
	}
	switch kind {
	case unix.S_IFDIR:
		return true, p.tar.WriteHeader(headerOf(&st, name+"/", tar.TypeDir))
	case unix.S_IFLNK:
		header := headerOf(&st, name, tar.TypeSymlink)
		if header.Linkname, err = readlink(dir, base); err != nil {
			return false, &os.PathError{Op: "readlink", Path: name, Err: err}
		}
		return false, p.tar.WriteHeader(header)
	}
	if id := (inode{st.Dev, st.Ino}); st.Nlink > 1 {
		if first, seen := p.links[id]; seen {
			header := headerOf(&st, name, tar.TypeLink)
			header.Linkname = first
			return false, p.tar.WriteHeader(header)
		}
		p.links[id] = name
	}
	header := headerOf(&st, name, tar.TypeReg)
	header.Size = st.Size
	return false, p.file(dir, base, header)
}

// headerOf describes a file. Of a folder, the bits for setgid and sticky are kept: they decide who
// owns new files in it, and who may remove them.
func headerOf(st *unix.Stat_t, name string, kind byte) *tar.Header {
	mode := st.Mode & 0o777
	if kind == tar.TypeDir {
		mode = st.Mode & 0o3777
	}
	return &tar.Header{Format: tar.FormatPAX, Typeflag: kind, Name: name, Mode: int64(mode), Uid: int(st.Uid), Gid: int(st.Gid), ModTime: time.Unix(st.Mtim.Unix())}
}

func (p *packing) file(dir *os.File, base string, header *tar.Header) error {
	if p.bytes += header.Size; header.Size > p.limits.Bytes || p.bytes > p.limits.Bytes {
		return fmt.Errorf("it has more than %d bytes (max_size is its limit)", p.limits.Bytes)
	}
	fd, err := unix.Openat(int(dir.Fd()), base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: header.Name, Err: err}
	}
	file := os.NewFile(uintptr(fd), header.Name)
	defer file.Close()
	if err := p.tar.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.CopyN(p.tar, file, header.Size)
	return err
}

func readlink(dir *os.File, base string) (string, error) {
	buffer := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(dir.Fd()), base, buffer)
	if err != nil {
		return "", err
	}
	return string(buffer[:n]), nil
}

// unpacking is the work on one archive.
type unpacking struct {
	root    *os.Root
	limits  Limits
	files   int
	bytes   int64
	paths   int              // bytes of the paths of folders
	folders []unpackedFolder // whose mode and time are set once everything is in them
}

// unpackedFolder is what is set of a folder. The header of an archive would keep its path several times.
type unpackedFolder struct {
	name     string
	mode     fs.FileMode
	uid, gid int
	changed  time.Time
}

// unpack unpacks an archive into a folder. Nothing is made outside of it, whatever the archive says.
func unpack(ctx context.Context, r io.Reader, into string, l Limits) error {
	root, err := os.OpenRoot(into)
	if err != nil {
		return err
	}
	defer root.Close()
	expanded, err := zstd.NewReader(r, zstd.WithDecoderMaxMemory(1<<30))
	if err != nil {
		return err
	}
	defer expanded.Close()
	u := &unpacking{root: root, limits: l}
	archive := tar.NewReader(expanded)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := u.entry(archive, header); err != nil {
			return err
		}
	}
	return u.finishFolders()
}

func (u *unpacking) entry(r io.Reader, h *tar.Header) error {
	if u.files++; u.files > u.limits.Files {
		return fmt.Errorf("it has more than %d files", u.limits.Files)
	}
	name := path.Clean(h.Name)
	isTop := name == "." && h.Typeflag == tar.TypeDir && u.files == 1
	if !fs.ValidPath(name) || name == "." && !isTop {
		return fmt.Errorf("it has a file with the name %q", h.Name)
	}
	h.Name = name
	if isTop {
		u.keepFolder(h)
		return nil
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if err := u.root.Mkdir(name, 0o700); err != nil {
			return err
		}
		if err := u.limits.keep(&u.paths, name); err != nil {
			return err
		}
		u.keepFolder(h)
		return nil
	case tar.TypeSymlink:
		if err := u.root.Symlink(h.Linkname, name); err != nil {
			return err
		}
		return u.root.Lchown(name, h.Uid, h.Gid)
	case tar.TypeLink:
		return u.root.Link(path.Clean(h.Linkname), name)
	case tar.TypeReg:
		return u.file(r, h)
	}
	return fmt.Errorf("it has a file of the type %q: %s", h.Typeflag, name)
}

func (u *unpacking) keepFolder(h *tar.Header) {
	mode := fs.FileMode(h.Mode).Perm()
	if h.Mode&0o2000 != 0 {
		mode |= fs.ModeSetgid
	}
	if h.Mode&0o1000 != 0 {
		mode |= fs.ModeSticky
	}
	u.folders = append(u.folders, unpackedFolder{strings.Clone(h.Name), mode, h.Uid, h.Gid, h.ModTime})
}

func (u *unpacking) file(r io.Reader, h *tar.Header) error {
	if u.bytes += h.Size; h.Size > u.limits.Bytes || u.bytes > u.limits.Bytes {
		return fmt.Errorf("it has more than %d bytes", u.limits.Bytes)
	}
	file, err := u.root.OpenFile(h.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = copySparse(file, r, h.Size)
	err = errors.Join(err, file.Chown(h.Uid, h.Gid), file.Chmod(fs.FileMode(h.Mode).Perm()), file.Close())
	if err != nil {
		return err
	}
	return u.root.Chtimes(h.Name, h.ModTime, h.ModTime)
}

func (u *unpacking) finishFolders() error {
	for i := len(u.folders) - 1; i >= 0; i-- {
		f := &u.folders[i]
		err := errors.Join(u.root.Lchown(f.name, f.uid, f.gid), u.root.Chmod(f.name, f.mode), u.root.Chtimes(f.name, f.changed, f.changed))
		if err != nil {
			return err
		}
	}
	return nil
}
