package pull

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/stepexec/stepexec/beneath"
)

// folder serves the files of a directory. The attack that os.Root stops: a layout from a stranger
// has a blob that is a symbolic link to a file of this machine.
type folder struct{ root *os.Root }

func openFolder(path beneath.Path) (*folder, error) {
	place, err := path.Open(0)
	var info os.FileInfo
	if err == nil {
		defer place.Close()
		info, err = place.Stat()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &failure{"no such folder", ErrNotFound}
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, errors.New("it is a file, not a folder: archives are oci-archive:FILE and docker-archive:FILE")
	}
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", place.Fd())) // opens the directory that was checked, without its name
	if err != nil {
		return nil, err
	}
	return &folder{root}, nil
}

func (f *folder) open(name string) (io.ReadCloser, int64, error) {
	// Non-blocking, because opening a FIFO without a writer would wait forever.
	file, err := f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	size, err := regularSize(file)
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("%s: %w", name, err), file.Close())
	}
	return file, size, nil
}

func (f *folder) Close() error { return f.root.Close() }

func regularSize(file *os.File) (int64, error) {
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, errors.New("it is not a regular file")
	}
	return info.Size(), nil
}
