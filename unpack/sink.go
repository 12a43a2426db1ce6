package unpack

import "io"

// A sink stores the files of one layer. The tree decides what the layer contains; a sink makes no
// decisions. Paths are clean, and the parent directory of a path already exists. A method that
// makes a file returns EEXIST, without reading the content, when the path exists.
type sink interface {
	// mkdir makes a directory. Its metadata comes with finishDir.
	mkdir(path string) error
	// file makes a regular file of size bytes. The name exists when file returns; content and
	// metadata may follow later.
	file(path string, m metadata, content io.Reader, size int64, sparse bool) error
	symlink(path string, m metadata, target string) error
	// node makes a device node or a FIFO; kind is its type as in stat(2).
	node(path string, m metadata, kind uint32, dev uint64) error
	// whiteout makes the device 0:0, with which overlayfs hides whatever lower layers have at path.
	whiteout(path string) error
	// link gives the file at target, which is not a directory, a second name.
	link(path, target string) error

	// kind returns the type of the file at path as in stat(2), or ENOENT.
	kind(path string) (uint32, error)
	// readlink returns the target of a symbolic link.
	readlink(path string) (string, error)
	// names lists a directory, in no particular order.
	names(path string) ([]string, error)
	// remove removes a file, or a directory that is empty.
	remove(path string, dir bool) error

	// wait returns once the content of all files is written, with the error of the first file that
	// failed. failed reports early whether there is such an error.
	wait() error
	failed() bool
	// finishDir gives a directory its metadata. Nothing is made or removed in it afterwards.
	finishDir(path string, m metadata, opaque bool) error
	// commit ends the layer after the last finishDir, and records in the notes what must be known
	// later.
	commit(*notes) error
	// close releases the sink; it may be called before commit.
	close()
}
