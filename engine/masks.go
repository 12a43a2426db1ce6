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

// Limits of the values that steps may have masked. Each value costs memory, and the output
// of every step is searched for it.
const (
	maxMaskFile   = 32 << 10  // bytes that a step may write to its FIFO
	maxMaskValues = 64        // values of a step
	maxMaskBytes  = 256 << 10 // bytes of all values of a run
)

// maskFiles are the FIFOs to which steps write values that are masked from then on. They are read
// after output was read and before it is masked: whatever a step prints after it wrote a value is
// masked for certain, and so is whatever other steps print that got the value by then. They are
// FIFOs because in a file, the next value could overwrite one before it was read.
type maskFiles struct {
	run *run

	mu    sync.Mutex // guards the rest, and what is in the files
	open  []*maskFile
	bytes int             // bytes of all values
	known map[string]bool // all values
}

// maskFile is the FIFO of one attempt at a step.
type maskFile struct {
	of     *maskFiles
	step   string // name of the step
	path   string
	fd     int    // non-blocking; open for reading and writing, so that it has no end of file
	data   []byte // everything that was written so far
	values int    // number of values that were new to the run
	err    error  // why values cannot be masked; nothing of the step is shown any more
}

// maskPath makes the FIFO, in memory, and returns its path. All users of the step may write to it.
func (r *run) maskPath(n *node) (string, error) {
	dir, err := r.o.Host.Dir(n.sandboxID() + "-mask")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "mask")
	if err := unix.Mkfifo(path, 0o622); err != nil && !errors.Is(err, unix.EEXIST) {
		return "", fmt.Errorf("make fifo %s: %w", path, err)
	}
	return path, os.Chmod(path, 0o622) // whatever the umask
}

// maskMount makes the FIFO of a step and returns its mount.
func (r *run) maskMount(n *node) (sandbox.Mount, error) {
	path, err := r.maskPath(n)
	return channelMount(path, pipeline.MaskPath), err
}

// add opens a step's FIFO; it returns nil for a step without one.
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

// look takes over the values that were written to any of the FIFOs.
func (m *maskFiles) look() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.open {
		if fresh, err := f.take(); fresh && f.err == nil {
			f.keep(errors.Join(err, f.parse(false)))
		}
	}
}

// take reads what was written, and reports whether that was anything. It throws away what exceeds the
// limit, so that the writer does not wait.
func (f *maskFile) take() (fresh bool, err error) {
	var buf [4096]byte
	for range 2 * 64 << 10 / len(buf) { // twice the size of a pipe: a step may write without end
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

// keep notes and reports at once that the step's output cannot be masked as the step wants.
func (f *maskFile) keep(err error) {
	if err == nil || f.err != nil {
		return
	}
	f.err = err
	f.of.run.emit(event.Event{Kind: event.Warning, Step: f.step, Text: fmt.Sprintf("%v; the step's output is not shown from here on, because it cannot be masked", err)})
}

// parse masks the values that are new. At the end of the step, every value must be complete.
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
			return fmt.Errorf("$STEPEXEC_MASK has more than the %d values allowed for a step, or the values of the run have more than %d bytes", maxMaskValues, maxMaskBytes)
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

// parseMasks reads values: one on each line, or a line <<END followed by the lines of the value and
// a line END. Before the end of the step, the last value may be incomplete; a last line without a
// newline counts as complete.
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
					return nil, fmt.Errorf("$STEPEXEC_MASK, line %d: the value has no end (its last line, the word after <<, is missing)", i+1)
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

// finish takes over the last values, once all processes of the step are dead. The error says why the
// step's output could not be masked. On nil it does nothing.
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

// count is the number of the step's values that were new to the run. On nil it is 0.
func (f *maskFile) count() int {
	if f == nil {
		return 0
	}
	f.of.mu.Lock()
	defer f.of.mu.Unlock()
	return f.values
}

// close closes and removes the FIFO. On nil it does nothing.
func (f *maskFile) close() error {
	if f == nil {
		return nil
	}
	f.of.mu.Lock()
	defer f.of.mu.Unlock()
	f.of.open = slices.DeleteFunc(f.of.open, func(other *maskFile) bool { return other == f })
	return errors.Join(unix.Close(f.fd), os.RemoveAll(filepath.Dir(f.path)))
}

// failed reports whether the step's output cannot be masked. On nil it returns false.
func (f *maskFile) failed() bool {
	if f == nil {
		return false
	}
	f.of.mu.Lock()
	defer f.of.mu.Unlock()
	return f.err != nil
}

// masking masks a stream of a step by all values that are known once the stream was read.
type masking struct {
	files *maskFiles
	own   *maskFile
	sudo  *setuidComplaint
	*logs.MaskWriter
}

func (m masking) Write(data []byte) (int, error) {
	m.files.look()
	m.sudo.look(data)
	if m.own.failed() {
		return len(data), nil
	}
	return m.MaskWriter.Write(data)
}
