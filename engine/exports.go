package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/sandbox"
)

// maxExports bounds the variables that a step passes on, in bytes: execve accepts 128 KiB
// for one variable.
const maxExports = 64 << 10

// exports are the variables that a step passes on to the steps that depend on it, by name.
type exports map[string]export

type export struct {
	value string
	from  *node // the step that set it
}

// exportsDir is the folder of the file that a sandbox writes its variables to. It is in
// memory, as they may be secret, and counts as memory of the step.
func exportsDir(host *sandbox.Host, id string) (string, error) { return host.Dir(id + "-exports") }

// exportsMount makes the file for a sandbox and returns its mount. All users of the step
// may write to it.
func exportsMount(host *sandbox.Host, id string) (sandbox.Mount, error) {
	dir, err := exportsDir(host, id)
	if err != nil {
		return sandbox.Mount{}, err
	}
	path := filepath.Join(dir, "output")
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		return sandbox.Mount{}, err
	}
	if err := os.Chmod(path, 0o666); err != nil { // whatever the umask
		return sandbox.Mount{}, err
	}
	return channelMount(path, pipeline.ExportsPath), nil
}

// channelMount is the mount of a file through which a step tells the run something.
func channelMount(path, destination string) sandbox.Mount {
	return sandbox.Mount{Type: "bind", Source: path, Destination: destination, Options: []string{"bind", "rw", "nosuid", "nodev", "noexec"}}
}

// readExports reads the variables that a step passes on, once all its processes are dead.
func (r *run) readExports(n *node) (list []string, err error) {
	if !n.step.Exports {
		return nil, nil
	}
	dir, err := exportsDir(r.o.Host, n.sandboxID())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file, err := os.OpenFile(filepath.Join(dir, "output"), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("read $STEPEXEC_OUTPUT: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxExports+1))
	if err != nil {
		return nil, fmt.Errorf("read $STEPEXEC_OUTPUT: %w", err)
	}
	return parseExports(data)
}

var exportLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)(=|<<)(.*)$`) })

// parseExports reads lines of NAME=value, and lines of NAME<<END followed by the lines of
// the value and a line END. It returns NAME=value in the order of the file.
func parseExports(data []byte) ([]string, error) {
	switch {
	case len(data) > maxExports:
		return nil, fmt.Errorf("$STEPEXEC_OUTPUT has more than the %d bytes allowed", maxExports)
	case bytes.IndexByte(data, 0) >= 0:
		return nil, errors.New("$STEPEXEC_OUTPUT has a NUL byte, which no variable can hold")
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	var list []string
	for i := 0; i < len(lines); i++ {
		if strings.TrimSpace(lines[i]) == "" {
			continue
		}
		parts, at := exportLine().FindStringSubmatch(lines[i]), i+1
		if parts == nil { // the line stays out of the message: it may be half of a secret
			return nil, fmt.Errorf("$STEPEXEC_OUTPUT, line %d: not a variable (write NAME=value, or NAME<<END with the value in the lines up to END)", at)
		}
		name, value := parts[1], parts[3]
		if refusedExport(name) {
			return nil, fmt.Errorf("$STEPEXEC_OUTPUT, line %d: a step cannot pass on the variable %s: it decides what later steps run", at, name)
		}
		if parts[2] == "<<" {
			length := slices.Index(lines[i+1:], value)
			if length < 0 || value == "" {
				return nil, fmt.Errorf("$STEPEXEC_OUTPUT, line %d: the value of %s has no end (its last line is missing)", at, name)
			}
			value = strings.Join(lines[i+1:i+1+length], "\n")
			i += length + 1
		}
		list = append(list, name+"="+value)
	}
	return list, nil
}

// refusedExport reports whether a step must not set a variable of later steps. Programs
// find and load other programs by these variables: a step could make a later one, which
// may have secrets, run whatever it likes.
func refusedExport(name string) bool {
	for _, prefix := range []string{"LD_", "DYLD_", "STEPEXEC", "PLUGIN_", "GIT_", "BASH_FUNC", "PYTHON", "PERL5", "RUBY", "JAVA_TOOL_", "GLIBC_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{"PATH", "HOME", "SHELL", "ENV", "BASH_ENV", "IFS", "CI", "NODE_OPTIONS", "PERLLIB", "_JAVA_OPTIONS"}, name)
}

// inherit gives a step the variables of the steps before it. When several steps set the
// same name, the one that is later in the file wins; a variable of the step itself stays.
func (r *run) inherit(n *node) {
	n.work.exports = exports{}
	for _, before := range n.deps {
		n.work.exports.add(before.work.exports)
	}
	if n.step.Security.Privileged || n.step.Advanced.Spec != nil {
		return // other steps must not influence it
	}
	for _, name := range slices.Sorted(maps.Keys(n.work.exports)) {
		if slices.ContainsFunc(n.step.Env, func(entry string) bool { return strings.HasPrefix(entry, name+"=") }) {
			r.emit(event.Event{Kind: event.Warning, Step: n.step.Name, Text: fmt.Sprintf("the variable %s from step %s is not used: the step sets it itself", name, n.work.exports[name].from.step.Name)})
			continue
		}
		n.work.inherited = append(n.work.inherited, name+"="+n.work.exports[name].value)
	}
}

// export adds the variables that a step passes on to those that it got. An error makes a
// step fail that would otherwise have succeeded.
func (r *run) export(n *node, list []string, err error, end outcome) outcome {
	if err != nil {
		if end.status == event.Succeeded {
			return outcome{status: event.Failed, code: event.CodeError, err: fmt.Errorf("pass on the step's variables: %w", err)}
		}
		return end
	}
	for _, entry := range list {
		name, value, _ := strings.Cut(entry, "=")
		n.work.exports[name] = export{value, n}
		if n.result.Outputs == nil {
			n.result.Outputs = map[string]string{}
		}
		n.result.Outputs[name] = r.mask.String(value)
	}
	return end
}
