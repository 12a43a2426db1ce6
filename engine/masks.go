package engine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/sandbox"
)

// What a step can have masked: each value costs memory, and all output is searched for it, that of
// other steps too.
const (
	maxMaskFile   = 32 << 10  // bytes, of a step
	maxMaskValues = 64        // of a step
	maxMaskBytes  = 256 << 10 // of a run
)

// maskFiles are what steps write values to that are masked from then on. They are looked at
// after output was read and before it is masked: what a step prints after it wrote a value is masked for
// certain, and so is what others print that have got it by then. They are FIFOs: in a file, a value that
// the next one overwrites could be gone before it was read.
type maskFiles struct {
	run *run

	mu    sync.Mutex // guards the rest, and what is in the files
	open  []*maskFile
	bytes int // of all values
	known map[string]bool
}

// maskFile is that of one attempt at a step.
type maskFile struct {
	of     *maskFiles
	step   string
	path   string
	fd     int    // non-blocking, and of both ends: it has no end of file
	data   []byte // all that was written
	values int
	err    error // it cannot be understood or has too much: nothing of the step is shown any more
}

// maskPath makes the FIFO, in memory, and says where it is. All of the step's users may write to it.
func (r *run) maskPath(n *node) (string, error) {
	dir, err := r.o.Host.Dir(n.id + "-mask")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "mask")
	if err := unix.Mkfifo(path, 0o622); err != nil && !errors.Is(err, unix.EEXIST) {
		return "", fmt.Errorf("make fifo %s: %w", path, err)
	}
	return path, os.Chmod(path, 0o622) // whatever the umask
}

// maskMount is how the file comes into the container.
func (r *run) maskMount(n *node) ([]sandbox.Mount, error) {
	if !n.step.Masks {
		return nil, nil
	}
	path, err := r.maskPath(n)
	if err != nil {
		return nil, err
	}
	return []sandbox.Mount{{Type: "bind", Source: path, Destination: pipeline.MaskPath, Options: []string{"bind", "rw", "nosuid", "nodev", "noexec"}}}, nil
}

// add begins to look at a step's file; nil for a step without one.
func (m *maskFiles) add(n *node) (*maskFile, error) {
	if !n.step.Masks {
		return nil, nil
	}
	path, err := m.run.maskPath(n)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open $STEPEXEC_MASK: %w", err)
	}
	f := &maskFile{of: m, step: n.step.Name, path: path, fd: fd}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open = append(m.open, f)
	return f, nil
}

// look takes over what has been written to any of the files.
func (m *maskFiles) look() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.open {
		if fresh, err := f.take(); fresh && f.err == nil {
			f.keep(errors.Join(err, f.parse(false)))
		}
	}
}

// take reads what has been written, and reports whether that was anything. What is too much is thrown away: who
// writes it is not to wait.
func (f *maskFile) take() (fresh bool, err error) {
	var buf [4096]byte
	for range 2 * 64 << 10 / len(buf) { // twice what a pipe holds: it may be filled without end
		n, err := unix.Read(f.fd, buf[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return fresh, nil
		case err != nil:
			return true, fmt.Errorf("read $STEPEXEC_MASK: %w", err)
		}
		fresh = true
		if len(f.data) <= maxMaskFile {
			f.data = append(f.data, buf[:n]...)
		}
	}
	return fresh, nil
}

// keep notes, and says at once, that what a step prints cannot be masked as it wants.
func (f *maskFile) keep(err error) {
	if err == nil || f.err != nil {
		return
	}
	f.err = err
	f.of.run.emit(event.Event{Kind: event.Warning, Step: f.step, Text: fmt.Sprintf("%v; its output is not shown from here on, for it cannot be masked", err)})
}

// parse masks the values that are new. At the step's end all of them must be whole.
func (f *maskFile) parse(end bool) error {
	values, err := parseMasks(f.data, end)
	if err != nil {
		return err
	}
	var fresh []string
	for _, value := range values {
		if f.of.known[value] {
			continue
		}
		f.values++
		f.of.bytes += len(value)
		if f.values > maxMaskValues || f.of.bytes > maxMaskBytes {
			return fmt.Errorf("$STEPEXEC_MASK has more than the %d values allowed for a step, or those of the run have more than %d bytes", maxMaskValues, maxMaskBytes)
		}
		f.of.known[value] = true
		fresh = append(fresh, value)
	}
	if len(fresh) == 0 {
		return nil
	}
	if weak := f.of.run.mask.Add(fresh); weak > 0 {
		f.of.run.emit(event.Event{Kind: event.Warning, Step: f.step, Text: fmt.Sprintf("%d of the values in $STEPEXEC_MASK are shorter than 4 characters and cannot be masked", weak)})
	}
	return nil
}

// parseMasks reads values, a line each, or <<END with the value in the lines up to END. While
// the file is being written its last value may not be whole; a line of it without newline counts.
func parseMasks(data []byte, end bool) ([]string, error) {
	switch {
	case len(data) > maxMaskFile:
		return nil, fmt.Errorf("$STEPEXEC_MASK has more than the %d bytes allowed", maxMaskFile)
	case bytes.IndexByte(data, 0) >= 0:
		return nil, errors.New("$STEPEXEC_MASK has a NUL byte")
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	var values []string
	for i := 0; i < len(lines); i++ {
		value := strings.TrimSuffix(lines[i], "\r")
		mark, block := strings.CutPrefix(value, "<<")
		if block && mark != "" {
			length := slices.Index(lines[i+1:], mark)
			if length < 0 {
				if end {
					return nil, fmt.Errorf("$STEPEXEC_MASK, line %d: the value has no end (its last line, what is behind <<, is missing)", i+1)
				}
				return values, nil
			}
			value = strings.Join(lines[i+1:i+1+length], "\n")
			i += length + 1
		}
		if strings.TrimSpace(value) != "" {
			values = append(values, value)
		}
	}
	return values, nil
}

// finish takes over the last values, once all of the step's processes are dead. The error says why what
// the step has printed could not be masked. On nil it does nothing.
func (f *maskFile) finish() error {
	if f == nil {
		return nil
	}
	f.of.mu.Lock()
	defer f.of.mu.Unlock()
	if _, err := f.take(); f.err == nil {
		f.err = errors.Join(err, f.parse(true))
	}
	return f.err
}

// count is how many values the step had masked that nobody had before. On nil it is 0.
func (f *maskFile) count() int {
	if f == nil {
		return 0
	}
	f.of.mu.Lock()
	defer f.of.mu.Unlock()
	return f.values
}

// close ends the looking. On nil it does nothing.
func (f *maskFile) close() error {
	if f == nil {
		return nil
	}
	f.of.mu.Lock()
	defer f.of.mu.Unlock()
	f.of.open = slices.DeleteFunc(f.of.open, func(other *maskFile) bool { return other == f })
	return errors.Join(unix.Close(f.fd), os.RemoveAll(filepath.Dir(f.path)))
}

// failed reports whether the step's output cannot be masked. On nil it does not.
func (f *maskFile) failed() bool {
	if f == nil {
		return false
	}
	f.of.mu.Lock()
	defer f.of.mu.Unlock()
	return f.err != nil
}

// masking is a stream of a step: it is masked by all that is known once it was read.
type masking struct {
	files *maskFiles
	own   *maskFile
	*logs.MaskWriter
}

func (m masking) Write(data []byte) (int, error) {
	m.files.look()
	if m.own.failed() {
		return len(data), nil
	}
	return m.MaskWriter.Write(data)
}
