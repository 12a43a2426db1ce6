package unpack

import (
	"container/list"
	"errors"

	"golang.org/x/sys/unix"
)

// openBeneath opens a directory by its path below root. The kernel refuses every symbolic link and
// every way out of root, so no entry is written through a link to the host, whatever an earlier
// entry planted.
func openBeneath(root int, path string, flags int) (int, error) {
	if path == "" {
		path = "."
	}
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	for {
		fd, err := unix.Openat2(root, path, &how)
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return fd, err
		}
	}
}

// maxOpenDirs bounds the open descriptors of one layer. Tars list a directory's files together, so
// few are enough.
const maxOpenDirs = 64

// openDirs keeps the most recently used directories of a layer open. At least the last two it returned stay
// open: a hard link needs two at once.
type openDirs struct {
	order  *list.List // of openDir, most recent first
	byPath map[string]*list.Element
}

type openDir struct {
	path string
	fd   int
}

func newOpenDirs() *openDirs {
	return &openDirs{list.New(), map[string]*list.Element{}}
}

func (o *openDirs) get(path string) (fd int, ok bool) {
	e, ok := o.byPath[path]
	if !ok {
		return -1, false
	}
	o.order.MoveToFront(e)
	return e.Value.(openDir).fd, true
}

// put stores the descriptor and takes ownership of it.
func (o *openDirs) put(path string, fd int) {
	o.byPath[path] = o.order.PushFront(openDir{path, fd})
	if o.order.Len() > maxOpenDirs {
		o.drop(o.order.Back().Value.(openDir).path)
	}
}

func (o *openDirs) drop(path string) {
	if e, ok := o.byPath[path]; ok {
		_ = unix.Close(e.Value.(openDir).fd) // an O_PATH descriptor has nothing to flush
		o.order.Remove(e)
		delete(o.byPath, path)
	}
}

func (o *openDirs) close() {
	for path := range o.byPath {
		o.drop(path)
	}
}
