package record

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/event"
)

// ReadLog calls each with every event of the log, as a line of JSON. live reports whether the
// run still goes on: ReadLog follows the log until the run has ended, its process has died, or
// ctx ends. With a nil live it reads to the current end. It leaves out an incomplete last
// line, which a process that died may leave.
func (r Record) ReadLog(ctx context.Context, live func() bool, each func(line []byte) error) error {
	log, err := r.OpenLog()
	if err != nil {
		return err
	}
	defer log.Close()
	var growth *growth
	if live != nil {
		if growth, err = watch(filepath.Join(r.dir, logFile)); err != nil {
			return err
		}
		defer growth.close()
	}
	for last := live == nil; ; {
		ended, err := log.Read(each)
		if err != nil || ended || last {
			return err
		}
		if err := growth.wait(ctx); err != nil {
			return err
		}
		last = !live()
	}
}

// LogReader reads the log of a run that may still grow.
type LogReader struct {
	file   *os.File
	reader *bufio.Reader
	part   []byte // beginning of a line whose end is not written yet
}

// OpenLog opens the log of the run at its beginning. Close the LogReader after use.
func (r Record) OpenLog() (*LogReader, error) {
	file, err := r.open(logFile)
	if err != nil {
		return nil, err
	}
	return &LogReader{file: file, reader: bufio.NewReaderSize(file, 64<<10)}, nil
}

// Size is the size of the log now, in bytes.
func (l *LogReader) Size() (int64, error) {
	info, err := l.file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Read calls each with every complete line since the last Read, and reports whether one of them was the last
// of the log.
func (l *LogReader) Read(each func(line []byte) error) (ended bool, err error) {
	for {
		data, err := l.reader.ReadSlice('\n')
		l.part = append(l.part, data...)
		switch {
		case len(l.part) > maxRecord:
			return false, fmt.Errorf("read the log: a line of %s: %w", l.file.Name(), errTooLarge)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("read the log: %w", err)
		}
		if err := each(l.part); err != nil {
			return false, err
		}
		if IsKind(l.part, event.RunFinished) {
			return true, nil
		}
		l.part = l.part[:0]
	}
}

// Close closes the log.
func (l *LogReader) Close() error { return l.file.Close() }

// IsKind reports whether a line of a log is an event of a kind. It does not decode the line,
// because a log may have millions.
func IsKind(line []byte, kind event.Kind) bool {
	// The kind comes after the time, and before anything that a step has printed.
	head := line[:min(len(line), 80)]
	return bytes.Contains(head, []byte(`"kind":"`+string(kind)+`"`))
}

// Decode decodes a line of a log.
func Decode(line []byte) (event.Event, error) {
	var e event.Event
	if err := json.Unmarshal(line, &e); err != nil {
		return e, fmt.Errorf("read the log: %w", err)
	}
	return e, nil
}

// Running returns the steps and services that run, according to the log, in the order of
// their start.
func (r Record) Running() ([]string, error) {
	var running []string
	err := r.ReadLog(context.Background(), nil, func(line []byte) (err error) {
		running, err = StillRunning(running, line)
		return err
	})
	return running, err
}

// StillRunning returns the steps and services that run after a line of the log, from those that ran before
// it.
func StillRunning(before []string, line []byte) ([]string, error) {
	started := IsKind(line, event.StepStarted)
	if !started && !IsKind(line, event.StepFinished) {
		return before, nil
	}
	e, err := Decode(line)
	if err != nil {
		return before, err
	}
	after := without(before, e.Step)
	if started {
		after = append(after, e.Step)
	}
	return after, nil
}

func without(all []string, one string) []string {
	var rest []string
	for _, s := range all {
		if s != one {
			rest = append(rest, s)
		}
	}
	return rest
}

// growth notices when a file grows or its writer closes it (inotify(7)).
type growth struct{ events *os.File }

func watch(path string) (*growth, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", path, err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY|unix.IN_CLOSE_WRITE); err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", path, err), events.Close())
	}
	return &growth{events}, nil
}

// wait returns when the file may have grown, and otherwise after a second: nothing announces
// that a run has died.
func (g *growth) wait(ctx context.Context) error {
	if err := g.events.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = g.events.SetReadDeadline(time.Now()) })
	defer stop()
	_, err := g.events.Read(make([]byte, 4096))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

func (g *growth) close() { _ = g.events.Close() } // nothing was written to it
