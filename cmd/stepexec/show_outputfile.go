package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// outputFile is a file that is written when a run has ended: completely or not at all. Its folder may
// be in the workspace of steps. It is held open, so that no step can replace it by a link and
// redirect the file to another place on the host.
type outputFile struct {
	folder *os.Root // folder of the file
	base   string
	device *os.File // used in place of folder and base: a pipe, /dev/stdout
}

// openOutput prepares to write a file before anything runs, so that errors show up early.
func openOutput(name string) (f *outputFile, err error) {
	if name == "" {
		return nil, errors.New("the name of the file is missing")
	}
	f = &outputFile{}
	path := name
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, fmt.Errorf("%s is a directory", name)
	case err == nil && !info.Mode().IsRegular():
		f.device, err = os.OpenFile(path, os.O_WRONLY, 0)
		return f, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	if f.folder, err = os.OpenRoot(filepath.Dir(path)); err != nil {
		return nil, err
	}
	f.base = filepath.Base(path)
	part, err := f.create()
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	if err := errors.Join(part.Close(), f.folder.Remove(f.part())); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

func (f *outputFile) part() string { return fmt.Sprintf(".%s.%d", f.base, os.Getpid()) }

func (f *outputFile) create() (*os.File, error) {
	return f.folder.OpenFile(f.part(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
}

// write writes the file with what content writes, completely or not at all.
func (f *outputFile) write(content func(io.Writer) error) error {
	if f.device != nil {
		return throughBuffer(f.device, content)
	}
	part, err := f.create()
	if err != nil {
		return err
	}
	if err := errors.Join(throughBuffer(part, content), part.Close()); err != nil {
		return errors.Join(err, f.folder.Remove(f.part()))
	}
	if err := f.folder.Rename(f.part(), f.base); err != nil {
		return errors.Join(err, f.folder.Remove(f.part()))
	}
	return nil
}

func throughBuffer(file *os.File, content func(io.Writer) error) error {
	buffer := bufio.NewWriterSize(file, 256<<10)
	if err := content(buffer); err != nil {
		return err
	}
	return buffer.Flush()
}

// remove removes the file, if there is one.
func (f *outputFile) remove() error {
	if f.device != nil {
		return nil
	}
	if err := f.folder.Remove(f.base); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (f *outputFile) close() error {
	if f.device != nil {
		return f.device.Close()
	}
	return f.folder.Close()
}
