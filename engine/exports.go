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

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/sandbox"
)

// maxExports bounds what a step can hand on: execve takes 128 KiB for one variable.
const maxExports = 64 << 10

// exports are the variables that a step hands on to those that depend on it.
type exports map[string]export

type export struct {
	value string
	from  *node
}

// exportsDir is where the file is that a step writes its variables to. It is in
// memory, as they may be secret, and counts as the step's own memory.
func (r *run) exportsDir(n *node) (string, error) { return r.o.Host.Dir(n.id + "-exports") }

// exportsMount makes that file, and says how it comes into the container. All of
// the step's users may write to it.
func (r *run) exportsMount(n *node) ([]sandbox.Mount, error) {
	if !n.step.Exports {
		return nil, nil
	}
	dir, err := r.exportsDir(n)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "output")
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o666); err != nil { // whatever the umask
		return nil, err
	}
	return []sandbox.Mount{{Type: "bind", Source: path, Destination: pipeline.ExportsPath, Options: []string{"bind", "rw", "nosuid", "nodev", "noexec"}}}, nil
}

// readExports reads what a step hands on, once all of its processes are dead.
func (r *run) readExports(n *node) (list []string, err error) {
	if !n.step.Exports {
		return nil, nil
	}
	dir, err := r.exportsDir(n)
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

var exportLine = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)(=|<<)(.*)$`)

// parseExports reads lines of NAME=value, and of NAME<<END with the value in the
// lines up to END. The result is NAME=value in the order of the file.
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
		parts, at := exportLine.FindStringSubmatch(lines[i]), i+1
		if parts == nil { // what it is stays out of the message: it may be half of a secret
			return nil, fmt.Errorf("$STEPEXEC_OUTPUT, line %d: not a variable (write NAME=value, or NAME<<END with the value in the lines up to END)", at)
		}
		name, value := parts[1], parts[3]
		if refusedExport(name) {
			return nil, fmt.Errorf("$STEPEXEC_OUTPUT, line %d: the variable %s cannot be handed on: it decides what later steps run", at, name)
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

// refusedExport knows the variables by which a step could have a later one, which may
// have secrets, run what it likes: they are how programs find and load others.
func refusedExport(name string) bool {
	for _, prefix := range []string{"LD_", "DYLD_", "STEPEXEC", "PLUGIN_", "GIT_", "BASH_FUNC", "PYTHON", "PERL5", "RUBY", "JAVA_TOOL_", "GLIBC_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{"PATH", "HOME", "SHELL", "ENV", "BASH_ENV", "IFS", "CI", "NODE_OPTIONS", "PERLLIB", "_JAVA_OPTIONS"}, name)
}

// inherit gives a step the variables of those before it. Of one name that of the later
// step in the file counts, and what the step has anyway is not changed.
func (r *run) inherit(n *node) {
	n.exports = exports{}
	for _, before := range n.deps {
		n.exports.add(before.exports)
	}
	if n.step.Security.Privileged || n.step.Advanced.Spec != nil {
		return // it takes nothing from the others
	}
	for _, name := range slices.Sorted(maps.Keys(n.exports)) {
		if slices.ContainsFunc(n.step.Env, func(entry string) bool { return strings.HasPrefix(entry, name+"=") }) {
			r.emit(event.Event{Kind: event.Warning, Step: n.step.Name, Text: fmt.Sprintf("the variable %s from step %s is not used: the step has one of its own", name, n.exports[name].from.step.Name)})
			continue
		}
		n.inherited = append(n.inherited, name+"="+n.exports[name].value)
	}
}

// export adds what a step hands on to what it got. A list that is wrong makes a step
// fail that would else have succeeded.
func (r *run) export(n *node, list []string, err error, end outcome) outcome {
	if err != nil {
		if end.status == event.Succeeded {
			return outcome{status: event.Failed, code: event.CodeError, err: fmt.Errorf("hand on the step's variables: %w", err)}
		}
		return end
	}
	for _, entry := range list {
		name, value, _ := strings.Cut(entry, "=")
		n.exports[name] = export{value, n}
		if n.result.Outputs == nil {
			n.result.Outputs = map[string]string{}
		}
		n.result.Outputs[name] = r.mask.String(value)
	}
	return end
}
