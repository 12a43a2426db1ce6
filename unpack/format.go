package unpack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/unpack/erofs"
)

// A Format is the way the store keeps the layers that it unpacks from now on.
type Format string

// The formats. Layers that are already in the store are used in whatever format they have.
const (
	FormatAuto        Format = "auto"        // images where they stay mounted and the kernel mounts them, otherwise directories
	FormatDirectories Format = "directories" // a layer is a directory of files
	FormatErofs       Format = "erofs"       // a layer is one EROFS image, mounted by the kernel (Linux 6.12, root)
)

var errFormat = errors.New("must be auto, directories or erofs")

// ParseFormat returns the format with that name; "" is FormatAuto.
func ParseFormat(name string) (Format, error) {
	switch f := Format(name); f {
	case "":
		return FormatAuto, nil
	case FormatAuto, FormatDirectories, FormatErofs:
		return f, nil
	}
	return "", fmt.Errorf("layer format %q: %w", name, errFormat)
}

// format returns the format of the next layer.
//
// An image is unpacked in less time than a directory. But what the kernel keeps in memory of its files ends with
// the mount, and reading them again in each run soon costs more than unpacking has saved.
func (s *Store) format() (Format, error) {
	switch {
	case s.Format == FormatDirectories, s.Format != FormatErofs && !s.Stays:
		return FormatDirectories, nil
	case s.mountable() == nil:
		return FormatErofs, nil
	case s.Format == FormatErofs:
		return "", fmt.Errorf("layer format erofs: %w (choose directories, or auto)", s.mountable())
	}
	return FormatDirectories, nil
}

// lowerdir returns the path that is mounted for a layer: its directory or its image.
func lowerdir(dir string) string {
	path := filepath.Join(dir, imageFile)
	if _, err := os.Lstat(path); err == nil {
		return path
	}
	return filepath.Join(dir, fsDir)
}

func isImage(lowerdir string) bool { return strings.HasSuffix(lowerdir, "/"+imageFile) }

// openLower opens the root directory of a layer. For an image it makes a detached mount, which ends
// when the descriptor is closed.
func openLower(lowerdir string) (fd int, err error) {
	if isImage(lowerdir) {
		return erofs.Mount(lowerdir)
	}
	fd, err = unix.Open(lowerdir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: lowerdir, Err: err}
	}
	return fd, nil
}

// check reads the whole image at path and compares it with the sum. A nil sum has no image to
// check.
func (sum *imageSum) check(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && sum == nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if sum == nil || info.Size() != sum.Size {
		return fmt.Errorf("%s has another size than when it was written", imageFile)
	}
	return erofs.Check(f, sum.Size, sum.CRC32)
}
