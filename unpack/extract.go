package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// extract writes all entries of the tar, and then everything that depends on all of them.
func (t *tree) extract(tr *tar.Reader) error {
	err := t.addAll(tr)
	// The error of a writer belongs to an entry before the one that the tar reader has reached.
	if err := t.sink.wait(); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	if err := t.finish(); err != nil {
		return err
	}
	return t.sink.commit(&t.notes)
}

func (t *tree) addAll(tr *tar.Reader) error {
	for !t.sink.failed() {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read tar: %w", err)
		}
		// Headers for "all later entries" have no use in a layer, and one that sets a path would
		// make the files seen here differ from those that other tools see.
		if hdr.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := t.add(hdr, tr); err != nil {
			return t.entryError(hdr.Name, err)
		}
	}
	return nil
}

func (t *tree) entryError(name string, err error) error { return entryError(t.layer, name, err) }

// entryError adds the entry's name to an error.
func entryError(layer digest.Digest, name string, err error) error {
	op := "unpack"
	if known := (*opError)(nil); errors.As(err, &known) {
		op, err = known.op, known.err
	}
	return &EntryError{Layer: layer, Name: name, Op: op, Err: err}
}

func (t *tree) add(hdr *tar.Header, content io.Reader) error {
	if err := t.budget.entry(); err != nil {
		return err
	}
	path, err := cleanName(hdr.Name, t.budget.limits.Depth)
	if err != nil {
		return err
	}
	if path, err = t.through(path); err != nil {
		return err
	}
	if strings.Contains(path, whiteoutPrefix) {
		if done, err := t.whiteout(path); done || err != nil {
			return err
		}
	}
	if path == "" && hdr.Typeflag != tar.TypeDir {
		return fmt.Errorf("the root of a layer must be a directory: %w", unix.ENOTDIR)
	}
	if hdr.Typeflag == tar.TypeLink {
		return t.addLink(path, hdr.Linkname)
	}
	m, err := t.metadata(hdr)
	if err != nil {
		return err
	}
	switch hdr.Typeflag {
	case tar.TypeDir:
		return t.addDir(path, m)
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		sparse := isSparse(hdr)
		if !sparse {
			content = t.recipe.content(path, hdr.Size, content)
		}
		return t.addFile(path, m, content, hdr.Size, sparse)
	case tar.TypeSymlink:
		return t.addSymlink(path, m, hdr.Linkname)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return t.addNode(path, m, hdr)
	default:
		return fmt.Errorf("unknown entry type %q", hdr.Typeflag)
	}
}

// addDir makes a directory, or gives an existing one new metadata.
func (t *tree) addDir(path string, m metadata) error {
	m, err := t.keepMetadata(m)
	if err != nil {
		return err
	}
	if state := t.dirs[path]; state != nil {
		state.declared = &m
		return nil
	}
	fresh := false
	parent, _ := split(path)
	if err := t.ensure(parent); err != nil {
		return err
	}
	err = t.sink.mkdir(path)
	if errors.Is(err, unix.EEXIST) {
		// The file that was here has replaced a lower directory, so this directory starts empty.
		fresh = true
		if err := t.remove(path); err != nil {
			return failed("replace", err)
		}
		err = t.sink.mkdir(path)
	}
	if err != nil {
		return failed("create directory", err)
	}
	if path, err = t.budget.keep(path); err != nil {
		return err
	}
	t.dirs[path] = &dirState{declared: &m, opaque: fresh, fresh: fresh}
	return nil
}

// addFile makes a regular file.
func (t *tree) addFile(path string, m metadata, content io.Reader, size int64, sparse bool) error {
	if err := t.budget.file(size, sparse); err != nil {
		return err
	}
	return failed("create", t.replace(path, func() error { return t.sink.file(path, m, content, size, sparse) }))
}

func (t *tree) addSymlink(path string, m metadata, target string) error {
	err := t.replace(path, func() error { return t.sink.symlink(path, m, target) })
	return failed("create symbolic link", err)
}

// addNode makes a device node or a FIFO.
func (t *tree) addNode(path string, m metadata, hdr *tar.Header) error {
	kind, dev := uint32(unix.S_IFIFO), uint64(0)
	if hdr.Typeflag != tar.TypeFifo {
		kind = unix.S_IFBLK
		if hdr.Typeflag == tar.TypeChar {
			kind = unix.S_IFCHR
		}
		// The kernel's dev_t has 12 bits for the major and 20 for the minor number; a larger number
		// would name another device.
		if hdr.Devmajor < 0 || hdr.Devmajor >= 1<<12 || hdr.Devminor < 0 || hdr.Devminor >= 1<<20 {
			return fmt.Errorf("device number %d:%d is out of range", hdr.Devmajor, hdr.Devminor)
		}
		if kind == unix.S_IFCHR && hdr.Devmajor == 0 && hdr.Devminor == 0 {
			return errDevice
		}
		dev = unix.Mkdev(uint32(hdr.Devmajor), uint32(hdr.Devminor))
	}
	err := t.replace(path, func() error { return t.sink.node(path, m, kind, dev) })
	return failed("create device", err)
}
