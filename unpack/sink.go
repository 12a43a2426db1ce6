package unpack

import "io"

// A sink is where the files of one layer go. The tree decides what the layer has, and a sink does what it is told: paths
// are clean, and the directory that a path lies in has been made before. What makes a file returns EEXIST, and has
// read nothing, when the path is taken.
type sink interface {
	// mkdir makes a directory. Its metadata comes with finishDir.
	mkdir(path string) error
	// file makes a regular file of size bytes. The name is taken when file returns; content and metadata may come later.
	file(path string, m metadata, content io.Reader, size int64, sparse bool) error
	symlink(path string, m metadata, target string) error
	// node makes a device node or a FIFO, whose type is in kind as in stat(2).
	node(path string, m metadata, kind uint32, dev uint64) error
	// whiteout makes the device 0:0 by which overlayfs hides what lower layers have at path.
	whiteout(path string) error
	// link gives the file at target, which is no directory, a second name.
	link(path, target string) error

	// kind returns the type of what is at path as in stat(2), or ENOENT.
	kind(path string) (uint32, error)
	// readlink returns the target of a symbolic link.
	readlink(path string) (string, error)
	// names lists a directory, in no order.
	names(path string) ([]string, error)
	// remove removes a file, or a directory that is empty.
	remove(path string, dir bool) error

	// wait returns when the content of all files is written, with the error of the first that failed. failed reports
	// early whether there is such an error.
	wait() error
	failed() bool
	// finishDir gives a directory its metadata. Nothing is made or removed in it afterwards.
	finishDir(path string, m metadata, opaque bool) error
	// commit ends the layer after the last finishDir, and notes what is to be known of it later.
	commit(*notes) error
	// close releases the sink, also before commit.
	close()
}
