package sandbox

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/containerd/go-runc"
)

// runtimeRoot returns the folder of the runtime's state: in the run's memory or, if there is one, a
// link to Options.RuntimeRoot. Either lets the clean-up after the run find the state, and recognise
// the run's own calls of the runtime.
func runtimeRoot(runDir string) string {
	link := runtimeLink(runDir)
	if _, err := os.Lstat(link); err == nil {
		return link
	}
	return filepath.Join(runDir, "private", "runtime")
}

func runtimeLink(runDir string) string { return filepath.Join(runDir, "runtime") }

// makeRuntimeRoot creates the folder. If it is Options.RuntimeRoot, which other runs may use too, it
// makes the link to it.
func (h *Host) makeRuntimeRoot(dir string) error {
	if dir == "" {
		return os.Mkdir(runtimeRoot(h.dir), 0o700)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of the runtime's state: %w", err)
	}
	return os.Symlink(dir, runtimeLink(h.dir))
}

// newRuntime returns a client of the OCI runtime for one container; log is the file for the
// runtime's messages, as JSON lines. The runtime gets its own process group: a Ctrl-C in the
// terminal is meant for stepexec, and would make a runtime leave half-made containers.
func (h *Host) newRuntime(log string) *runc.Runc {
	return &runc.Runc{Command: h.runtime, Root: runtimeRoot(h.dir), Log: log, LogFormat: runc.JSON, Setpgid: true, SystemdCgroup: h.systemd}
}

// runtimeError returns the message that the runtime wrote to its log, which is clearer than its
// exit status.
func runtimeError(doing, log string, err error) error {
	message, readErr := lastError(log)
	if readErr != nil || message == "" {
		return errors.Join(fmt.Errorf("%s: %w", doing, err), readErr)
	}
	return fmt.Errorf("%s: %s", doing, message)
}

func lastError(log string) (string, error) {
	data, err := os.ReadFile(log)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var last string
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var entry struct{ Level, Msg string }
		if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Level == "error" {
			last = entry.Msg
		}
	}
	return strings.TrimPrefix(last, "runc create failed: "), lines.Err()
}

// commandFailure recognises messages of runc and crun which say that the step's command itself
// cannot be executed, and returns a shell's exit code for it.
func commandFailure(message string) (code int, ok bool) {
	notFound := regexp.MustCompile(`exec: .*(executable file not found|no such file or directory)|executable file .* not found`)
	notExecutable := regexp.MustCompile(`exec: .*(permission denied|exec format error|is a directory)|open executable: Permission denied`)
	switch {
	case notFound.MatchString(message):
		return 127, true
	case notExecutable.MatchString(message):
		return 126, true
	}
	return 0, false
}

// mountFailure recognises messages of runc which say that nothing can be mounted at a place of the
// image, and returns the place, with why and what to do.
func mountFailure(message string) (place, why string) {
	found := regexp.MustCompile(`mounting ".*" to rootfs at "(/.*?)":`).FindStringSubmatch(message)
	switch {
	case found == nil:
		return "", ""
	case strings.HasSuffix(message, ": not a directory"):
		return found[1], "it, or a folder above it, is a file where a folder is needed, or the other way round (mount it elsewhere)"
	case strings.HasSuffix(message, ": read-only file system"):
		return found[1], "it does not exist, and a read-only mount above it keeps it from being made (make it at the source of that mount, or mount it elsewhere)"
	}
	return "", ""
}

// stdio passes the step's files to the runtime, which passes them on to the container (runc.IO).
type stdio struct {
	in, out, err *os.File
	null         *os.File // nil if it is not needed
}

// newStdio returns the streams of a container or of a program in one; nil is /dev/null. A command
// that reads must not swallow anything, and the first files that a command opens must not become its
// standard output. The caller closes it, but not the files, after the call of the runtime.
func newStdio(in, out, err *os.File) (stdio, error) {
	s := stdio{in: in, out: out, err: err}
	if out != nil && err != nil {
		return s, nil
	}
	var failed error
	if s.null, failed = os.OpenFile(os.DevNull, os.O_WRONLY, 0); failed != nil {
		return stdio{}, failed
	}
	s.out, s.err = cmp.Or(out, s.null), cmp.Or(err, s.null)
	return s, nil
}

// Set sets the streams. Where output and errors are nil, go-runc would make a pipe and wait for its
// end, which comes with the end of the container.
func (s stdio) Set(cmd *exec.Cmd) {
	if s.in != nil { // a nil *os.File in the interface would be a closed descriptor
		cmd.Stdin = s.in
	}
	cmd.Stdout, cmd.Stderr = s.out, s.err
}
func (s stdio) Stdin() io.WriteCloser { return nil }
func (s stdio) Stdout() io.ReadCloser { return nil }
func (s stdio) Stderr() io.ReadCloser { return nil }

// Close closes the null device (runc.IO).
func (s stdio) Close() error {
	if s.null == nil {
		return nil
	}
	return s.null.Close()
}
