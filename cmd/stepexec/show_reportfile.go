package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/stepexec/stepexec/report"
)

// reportFile is the destination of a report.
type reportFile struct {
	kind   report.Kind
	name   string   // name as the user gave it
	folder *os.Root // folder of the file
	base   string
	device *os.File // used in place of folder and base: a pipe, /dev/stdout
}

// openReport prepares to write a report to a file, [KIND=]FILE, before anything runs, so that
// errors show up early. The file's folder may be in the workspace of steps. It is held open, so
// that no step can replace it by a link and redirect the report to another place on the host.
func openReport(text string) (f *reportFile, err error) {
	f = &reportFile{name: text}
	if kind, name, found := strings.Cut(text, "="); found && !strings.ContainsAny(kind, "/.") {
		if f.kind, err = report.ParseKind(kind); err != nil {
			return nil, err
		}
		f.name = name
	} else if f.kind, err = report.KindOf(text); err != nil {
		return nil, err
	}
	if f.name == "" {
		return nil, errors.New("the name of the file is missing")
	}
	path := f.name
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, fmt.Errorf("%s is a directory", f.name)
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

func (f *reportFile) part() string { return fmt.Sprintf(".%s.%d", f.base, os.Getpid()) }

func (f *reportFile) create() (*os.File, error) {
	return f.folder.OpenFile(f.part(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
}

// write writes the report completely or not at all.
func (f *reportFile) write(r *report.Report) error {
	if f.device != nil {
		return f.writeTo(f.device, r)
	}
	part, err := f.create()
	if err != nil {
		return err
	}
	if err := errors.Join(f.writeTo(part, r), part.Close()); err != nil {
		return errors.Join(err, f.folder.Remove(f.part()))
	}
	if err := f.folder.Rename(f.part(), f.base); err != nil {
		return errors.Join(err, f.folder.Remove(f.part()))
	}
	return nil
}

func (f *reportFile) writeTo(file *os.File, r *report.Report) error {
	buffer := bufio.NewWriterSize(file, 256<<10)
	if err := report.Write(buffer, f.kind, r); err != nil {
		return err
	}
	return buffer.Flush()
}

func (f *reportFile) close() error {
	if f.device != nil {
		return f.device.Close()
	}
	return f.folder.Close()
}
