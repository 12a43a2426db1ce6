package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
)

// Limits bound an artifact. A zero field means the default.
type Limits struct {
	Bytes int64 // of all files; default 1 GiB
	Files int   // number of files and folders; default 100,000
}

// The default limits.
const (
	DefaultBytes = 1 << 30
	DefaultFiles = 100_000
)

func (l Limits) orDefault() Limits {
	if l.Bytes == 0 {
		l.Bytes = DefaultBytes
	}
	if l.Files == 0 {
		l.Files = DefaultFiles
	}
	return l
}

// maxVisited bounds the names that are looked at for one file or folder that may be collected: a
// pattern such as **/*.log has to look at all of a workspace.
const maxVisited = 20

// collection is the work on one artifact.
type collection struct {
	ctx       context.Context
	workspace *os.File
	into      *os.Root          // nil: nothing is copied
	own       [2]inode          // of the folder that artifacts go to, and of into: they can be in the workspace
	sums      map[string]string // digests of files by path; nil: none are made
	read      Read              // takes files instead of into
	patterns  Patterns
	limits    Limits
	ofRun     int64 // bytes of all artifacts of the run, where less than limits.Bytes were left of them; 0: otherwise

	seen    map[string]bool // paths of files and folders that are collected
	matched bool            // whether the current pattern has matched a file
	visited int             // names that were looked at
	files   int
	bytes   int64
	links   int
	leftOut []string

	unmatched []string // patterns that match no file
}

// Collected says what there is so far.
func (c *collection) Collected() Collected {
	return Collected{Files: c.files, Bytes: c.bytes, LeftOut: c.leftOut, Links: c.links}
}

func (c *collection) all() error {
	for _, pattern := range c.patterns.include {
		c.matched = false
		if err := c.pattern(pattern); err != nil {
			return err
		}
		if !c.matched {
			c.unmatched = append(c.unmatched, pattern)
		}
	}
	return nil
}

// pattern collects what a pattern matches.
func (c *collection) pattern(pattern string) error {
	base, depth := split(pattern)
	place, err := c.open(base)
	switch {
	case errors.Is(err, beneath.ErrLeadsOut):
		c.leaveOut(base)
		return nil
	case gone(err):
		return nil
	case err != nil:
		return err
	}
	defer place.Close()
	info, err := place.Stat()
	if err != nil {
		return err
	}
	if !info.IsDir() {
		if depth != 0 || c.patterns.excludes(base) {
			return nil
		}
		return c.file(place, info, base)
	}
	tree := &tree{collection: c, pattern: pattern, depth: depth, base: base, top: place.Name()}
	return tree.walk(place)
}

// open opens a path of the workspace as a place. A link is followed within the workspace.
func (c *collection) open(name string) (*os.File, error) {
	return beneath.OpenIn(c.workspace, name, unix.O_PATH)
}

// gone reports whether an error says that nothing has the name.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// link collects the file that a link leads to.
func (c *collection) link(name string) error {
	place, err := c.open(name)
	if gone(err) || errors.Is(err, beneath.ErrLeadsOut) {
		c.leaveOut(name)
		return nil
	}
	if err != nil {
		return err
	}
	defer place.Close()
	info, err := place.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		c.leaveOut(name)
		return nil
	}
	return c.file(place, info, name)
}

func (c *collection) leaveOut(name string) {
	c.links++
	if len(c.leftOut) < 10 {
		c.leftOut = append(c.leftOut, name)
	}
}

// file copies a file that is open as a place.
func (c *collection) file(place *os.File, info os.FileInfo, name string) error {
	c.matched = true
	if c.seen[name] {
		return nil
	}
	if !info.Mode().IsRegular() && c.read != nil {
		return nil
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is a %s: an artifact can have only files and folders (leave it out: %q)", name, kind(info.Mode()), "!"+name)
	}
	if err := c.count(name); err != nil {
		return err
	}
	if info.Size() > c.limits.Bytes-c.bytes { // a sparse file can claim more than any disk has
		return c.tooLarge(name)
	}
	from, err := beneath.Reopen(place, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer from.Close()
	if c.into == nil && c.sums != nil {
		return c.sum(from, name)
	}
	if c.read != nil {
		c.files++
		return c.read(name, info, from)
	}
	if err := c.folder(path.Dir(name)); err != nil {
		return err
	}
	to, err := c.into.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644|info.Mode().Perm()&0o111)
	if err != nil {
		return err
	}
	c.files++
	return errors.Join(c.copySummed(to, from, name), to.Close())
}

// piece is how many bytes are copied before the context is looked at.
const piece = 64 << 20

// copy copies the content of a file, within the limits.
func (c *collection) copy(to io.Writer, from io.Reader, name string) error {
	for {
		bytes, err := io.CopyN(to, from, min(piece, c.limits.Bytes-c.bytes+1))
		c.bytes += bytes
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case c.bytes > c.limits.Bytes:
			return c.tooLarge(name)
		case c.ctx.Err() != nil:
			return context.Cause(c.ctx)
		}
	}
}

func (c *collection) tooLarge(name string) error {
	if c.ofRun > 0 {
		return fmt.Errorf("with %s the run would have more than %d bytes of artifacts", name, c.ofRun)
	}
	return fmt.Errorf("with %s it has more than %d bytes (max_size is its limit)", name, c.limits.Bytes)
}

// count counts a file or folder, and ends with the context.
func (c *collection) count(name string) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	if c.seen[name] = true; len(c.seen) > c.limits.Files {
		return fmt.Errorf("it has more than %d files and folders", c.limits.Files)
	}
	return nil
}

// folder makes a folder, with its parents.
func (c *collection) folder(name string) error {
	if name == "." || c.seen[name] {
		return nil
	}
	if err := c.folder(path.Dir(name)); err != nil {
		return err
	}
	if err := c.count(name); err != nil {
		return err
	}
	return c.into.Mkdir(name, 0o755)
}

func kind(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "FIFO"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeDevice != 0:
		return "device"
	case mode.IsDir():
		return "folder"
	}
	return "special file"
}

// tree is a folder of the workspace that a pattern matches something in.
type tree struct {
	*collection
	pattern string
	depth   int    // how many names below the base can match; -1: any number
	base    string // the folder's path in the workspace
	top     string // the folder's name, with which those below begin
	parent  string // the folder that the walk is in; "": not yet in any
	taken   bool   // everything in it is collected
}

func (t *tree) walk(place *os.File) error {
	if t.base != "." && t.patterns.excludes(t.base) {
		return nil
	}
	return beneath.Walk(place, beneath.Visitor{Entry: t.entry})
}

// isOwn reports whether a folder that was found is one that artifacts go to: what is copied there
// would be found and copied again, without an end.
func (t *tree) isOwn(st *unix.Stat_t) bool {
	return t.into != nil && slices.Contains(t.own[:], inode{st.Dev, st.Ino})
}

// entry looks at a name in a folder, and collects it if the pattern says so.
func (t *tree) entry(dir *os.File, base string) (enter bool, err error) {
	if t.visited++; t.visited > maxVisited*t.limits.Files {
		return false, fmt.Errorf("%s has too many files to look through", t.pattern)
	}
	if t.visited%1000 == 0 && t.ctx.Err() != nil {
		return false, context.Cause(t.ctx)
	}
	if len(dir.Name())+1+len(base) >= unix.PathMax {
		return false, fmt.Errorf("a path in %s is longer than %d bytes", t.base, unix.PathMax)
	}
	parent := path.Join(t.base, strings.TrimPrefix(dir.Name(), t.top))
	if parent != t.parent {
		t.parent, t.taken = parent, t.takes(parent)
	}
	name := path.Join(parent, base)
	if t.patterns.excludesItself(name) {
		return false, nil
	}
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		if gone(err) {
			return false, nil // removed meanwhile
		}
		return false, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	taken := t.taken || matches(t.pattern, name)
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if t.isOwn(&st) {
			return false, nil
		}
		return taken || t.depth < 0 || strings.Count(strings.TrimPrefix(name, t.base+"/"), "/")+1 < t.depth, nil
	}
	if !taken {
		return false, nil
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return false, t.link(name)
	}
	return false, t.place(dir, base, name)
}

// takes reports whether the pattern matches a folder, or one that it is in. This is found out for each folder
// anew: the paths of all folders of a workspace could take all memory.
func (t *tree) takes(folder string) bool {
	if t.depth == 0 {
		return true
	}
	for ; !matches(t.pattern, folder); folder = path.Dir(folder) {
		if folder == t.base || folder == "." {
			return false
		}
	}
	return true
}

// place collects a file that is no link, or was none a moment ago.
func (t *tree) place(dir *os.File, base, name string) error {
	fd, err := unix.Openat(int(dir.Fd()), base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if gone(err) {
		return nil // removed meanwhile
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	place := os.NewFile(uintptr(fd), name)
	defer place.Close()
	info, err := place.Stat()
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 { // it was replaced by a link
		return t.link(name)
	}
	return t.file(place, info, name)
}
