package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// knownRuntimes is the file of a state root with the findings about the most recently used runtime.
const knownRuntimes = "runtime.json"

// knownRuntime holds the findings about a program, and identifies the program's file.
type knownRuntime struct {
	Path    string
	Device  uint64
	Inode   uint64
	Size    int64
	Changed int64  // ctime, nanoseconds since 1970
	Version string // first line of the output of --version
}

// keepsKnownState asks a runtime for its version and reports whether it stores the state of
// containers as runc 1.x does. The answer is remembered in the state root as long as the program is
// the same file. dir is a folder of the run: whatever a kill leaves there is cleared away with it.
func keepsKnownState(ctx context.Context, root, dir, runtime string) bool {
	now, err := identify(runtime)
	if err != nil {
		return false
	}
	file := filepath.Join(root, knownRuntimes)
	if data, err := os.ReadFile(file); err == nil {
		var known knownRuntime
		if json.Unmarshal(data, &known) == nil {
			now.Version = known.Version
			if known == now {
				return isKnownVersion(known.Version)
			}
		}
	}
	if now.Version, err = runtimeVersion(ctx, runtime); err != nil {
		return false
	}
	now.remember(file, dir)
	return isKnownVersion(now.Version)
}

// judgeRuntime says what a runtime may lack that failed without an error in its log, as programs do that are too old
// to know its options, or are no OCI runtimes.
func judgeRuntime(ctx context.Context, runtime string) string {
	const needed = "stepexec needs runc 1.1 or newer, or another runtime with the same command line: install one, or name it with --runtime"
	version, err := runtimeVersion(ctx, runtime)
	if err != nil {
		return fmt.Sprintf("%s --version fails as well; %s", runtime, needed)
	}
	return fmt.Sprintf("%s calls itself %.60q; %s", runtime, version, needed)
}

// runtimeVersion returns the first line of what a runtime prints about its version.
func runtimeVersion(ctx context.Context, runtime string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, runtimeTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, runtime, "--version").Output()
	version, _, _ := strings.Cut(string(out), "\n")
	return version, err
}

// isKnownVersion accepts runc 1.x. Release candidates of 1.0.0 were in use for years.
func isKnownVersion(line string) bool {
	minor, ok := strings.CutPrefix(line, "runc version 1.")
	return ok && !strings.HasPrefix(minor, "0.0-rc")
}

func identify(path string) (knownRuntime, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return knownRuntime{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return knownRuntime{Path: path, Device: st.Dev, Inode: st.Ino, Size: st.Size, Changed: st.Ctim.Nano()}, nil
}

// remember stores the findings in file, which it writes in dir first. If the root is read-only they
// are not stored, which costs one call of the runtime per run.
func (k knownRuntime) remember(file, dir string) {
	data, err := json.Marshal(k)
	if err != nil {
		return
	}
	written, err := os.CreateTemp(dir, knownRuntimes+"-*")
	if err != nil {
		return
	}
	_, err = written.Write(data)
	if err = errors.Join(err, written.Close()); err == nil {
		err = os.Rename(written.Name(), file)
	}
	if err != nil {
		_ = os.Remove(written.Name())
	}
}
