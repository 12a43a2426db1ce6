package unpack

import (
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/unpack/erofs"
)

// imageFile is the EROFS image of a layer; the layer then has no fsDir.
const imageFile = "fs.erofs"

// image is the sink that writes one EROFS image. Content goes to disk as it arrives; names and
// metadata stay in memory until commit: about 300 bytes a file, bounded by Limits.Memory.
type image struct {
	out    *os.File
	writer *erofs.Writer
	dirs   map[string]*erofs.Inode // by path, the root as ""
	budget *budget
	warn   warner
	buf    []byte
}

// newImage writes into a new file at path.
func newImage(path string, b *budget, warn warner) (*image, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &image{
		out: f, writer: erofs.NewWriter(f), dirs: map[string]*erofs.Inode{"": newDir()}, budget: b, warn: warn,
		buf: make([]byte, 64<<10),
	}, nil
}

func newDir() *erofs.Inode {
	return &erofs.Inode{Mode: unix.S_IFDIR | 0o700, Entries: map[string]*erofs.Inode{}}
}

func (i *image) wait() error  { return nil }
func (i *image) failed() bool { return false }
func (i *image) close()       { _ = i.out.Close() } // after an error; commit closes it too

// commit writes the metadata. The file is then complete, but not yet on disk.
func (i *image) commit(n *notes) error {
	if err := i.writer.Finish(i.dirs[""]); err != nil {
		return failed("write erofs image", err)
	}
	n.Image = &imageSum{i.writer.Size(), i.writer.Sum()}
	return i.out.Close()
}

// add adds a new file at path.
func (i *image) add(path string, inode *erofs.Inode) error {
	dir, base := split(path)
	base, err := i.budget.keep(base)
	if err != nil {
		return err
	}
	i.dirs[dir].Entries[base] = inode
	return nil
}

// lookup returns the file at path, or nil.
func (i *image) lookup(path string) *erofs.Inode {
	dir, base := split(path)
	return i.dirs[dir].Entries[base]
}

func (i *image) mkdir(path string) error {
	if i.lookup(path) != nil {
		return unix.EEXIST
	}
	dir := newDir()
	if err := i.add(path, dir); err != nil {
		return err
	}
	i.dirs[strings.Clone(path)] = dir
	return nil
}

func (i *image) file(path string, m metadata, content io.Reader, size int64, sparse bool) error {
	if i.lookup(path) != nil {
		return unix.EEXIST
	}
	hole := int64(0) // bytes of hole before the next data
	for left := size; left > 0; {
		n := int64(len(i.buf))
		if sparse {
			n = sparseBlock
		}
		chunk := i.buf[:min(n, left)]
		if _, err := io.ReadFull(content, chunk); err != nil {
			return failed("read", noEOF(err))
		}
		left -= int64(len(chunk))
		if sparse && isZero(chunk) {
			hole += int64(len(chunk))
			continue
		}
		if err := i.append(hole, chunk); err != nil {
			return err
		}
		hole = 0
	}
	if err := i.append(hole, nil); err != nil {
		return err
	}
	return i.addInode(path, unix.S_IFREG, m, erofs.Inode{Content: i.writer.EndFile()})
}

// append adds a hole, and the data after it, to the content of the current file.
func (i *image) append(hole int64, p []byte) error {
	if hole > 0 {
		if err := i.writer.Hole(hole); err != nil {
			return failed("write", err)
		}
	}
	if err := i.writer.Append(p); err != nil {
		return failed("write", err)
	}
	return i.budget.wrote(len(p))
}

func (i *image) symlink(path string, m metadata, target string) error {
	switch {
	case i.lookup(path) != nil:
		return unix.EEXIST
	case target == "":
		return unix.ENOENT // as symlink(2) does
	case len(target) >= pathMax:
		return unix.ENAMETOOLONG
	}
	target, err := i.budget.keep(target)
	if err != nil {
		return err
	}
	m.mode = 0o777 // symlink(7): the kernel gives every link this mode
	return i.addInode(path, unix.S_IFLNK, m, erofs.Inode{Target: target})
}

func (i *image) node(path string, m metadata, kind uint32, dev uint64) error {
	if i.lookup(path) != nil {
		return unix.EEXIST
	}
	return i.addInode(path, kind, m, erofs.Inode{Rdev: dev})
}

func (i *image) whiteout(path string) error {
	return i.node(path, metadata{}, unix.S_IFCHR, 0)
}

func (i *image) link(path, target string) error {
	if i.lookup(path) != nil {
		return unix.EEXIST
	}
	return i.add(path, i.lookup(target))
}

func (i *image) kind(path string) (uint32, error) {
	inode := i.lookup(path)
	if inode == nil {
		return 0, unix.ENOENT
	}
	return inode.Mode & unix.S_IFMT, nil
}

func (i *image) readlink(path string) (string, error) { return i.lookup(path).Target, nil }

func (i *image) names(path string) ([]string, error) {
	return slices.Collect(maps.Keys(i.dirs[path].Entries)), nil
}

// remove removes the name of a file. Its content stays in the image, because it was written as it
// arrived.
func (i *image) remove(path string, dir bool) error {
	if dir {
		delete(i.dirs, path)
	}
	parent, base := split(path)
	delete(i.dirs[parent].Entries, base)
	return nil
}

func (i *image) finishDir(path string, m metadata, opaque bool) error {
	dir := i.dirs[path]
	if err := i.apply(path, dir, unix.S_IFDIR, m); err != nil {
		return err
	}
	if opaque {
		dir.Xattrs[opaqueXattr()] = "y"
	}
	return nil
}

func (i *image) addInode(path string, kind uint32, m metadata, inode erofs.Inode) error {
	if err := i.apply(path, &inode, kind, m); err != nil {
		return err
	}
	return i.add(path, &inode)
}

// apply gives the inode its metadata.
func (i *image) apply(path string, inode *erofs.Inode, kind uint32, m metadata) error {
	inode.Mode = kind | m.mode
	inode.UID, inode.GID, inode.Mtime = uint32(m.uid), uint32(m.gid), m.mtime
	if len(m.xattrs) > 0 || kind == unix.S_IFDIR {
		inode.Xattrs = map[string]string{}
	}
	for name, value := range m.xattrs {
		err := checkXattr(kind, name, value)
		if err != nil && name == capability {
			// Without its capability a program would fail later, and nobody would trace that
			// failure back to here.
			return failed("set xattr "+strconv.Quote(name), err)
		}
		if err != nil {
			i.warn("%.300q: xattr %.300q is not kept: %v", path, name, err)
			continue
		}
		if name, err = i.budget.keep(name); err != nil {
			return err
		}
		if inode.Xattrs[name], err = i.budget.keep(value); err != nil {
			return err
		}
	}
	return nil
}

// checkXattr refuses attributes that the format or the kernel cannot store.
func checkXattr(kind uint32, name, value string) error {
	if strings.HasPrefix(name, "user.") && kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return unix.EPERM // xattr(7)
	}
	if name == capability && !isCapability(value) {
		return unix.EINVAL
	}
	return erofs.CheckXattr(name, value)
}

// isCapability recognises the revisions of struct vfs_cap_data (capability.h) by their sizes. For
// other file systems the kernel checks this.
func isCapability(value string) bool {
	sizes := map[byte]int{1: 12, 2: 20, 3: 24}
	return len(value) >= 4 && len(value) == sizes[value[3]]
}

var _ sink = (*image)(nil)
