package run

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pull"
)

// CheckReferences returns what a pipeline of the file refers to and cannot have: malformed references of images,
// unknown platforms, and files and volumes that do not exist. Names with variables in them are left out.
// The second result is what is only suspicious.
func (s *Source) CheckReferences() (wrong pipeline.Errors, suspicious []error) {
	for _, w := range s.Set.Workflows {
		for _, steps := range [][]pipeline.Step{w.Services, w.Steps} {
			for i := range steps {
				c := referenceCheck{source: s, pipeline: w.Pipeline, step: &steps[i]}
				c.image()
				c.platform()
				c.events()
				c.files()
				c.volumes()
				c.scripts()
				wrong, suspicious = append(wrong, c.wrong...), append(suspicious, c.suspicious...)
			}
		}
	}
	return wrong, suspicious
}

// referenceCheck is CheckReferences of one step.
type referenceCheck struct {
	source     *Source
	pipeline   *pipeline.Pipeline
	step       *pipeline.Step
	wrong      pipeline.Errors
	suspicious []error
}

// report adds an error at a key of the step, or at the step where the key's place is not known.
func (c *referenceCheck) report(key, message, hint string) *pipeline.Error {
	at := c.step.PositionOf(key)
	return &pipeline.Error{File: cmp.Or(at.File, c.pipeline.File), Line: at.Line, Column: at.Column, Key: at.Key, Message: message, Hint: hint}
}

func (c *referenceCheck) fail(key, message, hint string) {
	c.wrong = append(c.wrong, c.report(key, message, hint))
}

func (c *referenceCheck) suspect(key, message, hint string) {
	c.suspicious = append(c.suspicious, c.report(key, message, hint))
}

func (c *referenceCheck) image() {
	if c.step.Image == "" || strings.Contains(c.step.Image, "$") {
		return
	}
	image, err := pull.ParseReference(c.step.Image)
	if err != nil {
		c.fail("image", err.Error(), "")
		return
	}
	c.localImage(image)
}

// files checks the files that the step's keys name.
func (c *referenceCheck) files() {
	names := map[string][]string{"spec": {c.step.SpecFile}, "env_file": c.step.EnvFiles}
	if profile := c.step.Security.Seccomp; profile != "default" && profile != "unconfined" {
		names["seccomp"] = []string{profile}
	}
	for _, key := range []string{"env_file", "seccomp", "spec"} {
		for _, name := range names[key] {
			if name == "" || strings.Contains(name, "$") {
				continue
			}
			if _, err := os.Stat(c.path(name)); errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
				c.fail(key, fmt.Sprintf("there is no file %s", c.path(name)), "relative paths start from the folder of the pipeline file")
			}
		}
	}
}

func (c *referenceCheck) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.source.Dir, name)
}

// volumes checks bind mounts whose source looks like the name of a volume: where docker would make a volume, a
// folder of that name must be there.
func (c *referenceCheck) volumes() {
	for _, m := range c.step.Mounts {
		if m.Type != "bind" || m.Create || !pipeline.IsVolumeName(m.Source) || slices.Contains(c.pipeline.Volumes, m.Source) {
			continue
		}
		if _, err := os.Lstat(c.path(m.Source)); errors.Is(err, fs.ErrNotExist) {
			c.fail("volumes", fmt.Sprintf("%q is neither a volume of the pipeline nor a folder beside its file", m.Source),
				fmt.Sprintf("add volumes: [%s] at the top of the file, or use cache: [%[1]s:%s] to keep it between runs", m.Source, m.Destination))
		}
	}
}

// scripts looks at scripts of the workspace that commands begin with: line ends of Windows in a first line ask
// for an interpreter that does not exist, and the shell says only "not found".
func (c *referenceCheck) scripts() {
	root, err := os.OpenRoot(c.source.Dir)
	if err != nil {
		return
	}
	defer root.Close()
	program := regexp.MustCompile(`(?m)^\s*(\./[\w./-]+)`)
	for _, command := range c.step.Commands {
		for _, match := range program.FindAllStringSubmatch(command, -1) {
			if c.step.Directory == "" && hasWindowsShebang(root, match[1]) {
				c.suspect("commands", match[1]+" has line ends of Windows, so that the interpreter in its first line is not found",
					`convert it: sed -i 's/\r$//' FILE; in git: "* text=auto eol=lf" in .gitattributes`)
			}
		}
	}
}

// hasWindowsShebang reports whether the first line of a regular file begins with #! and ends with a carriage return.
func hasWindowsShebang(root *os.Root, name string) bool {
	info, err := root.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	file, err := root.Open(name)
	if err != nil {
		return false
	}
	defer file.Close()
	head := make([]byte, 256)
	n, err := io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false
	}
	line, _, _ := bytes.Cut(head[:n], []byte("\n"))
	return bytes.HasPrefix(line, []byte("#!")) && bytes.HasSuffix(line, []byte("\r"))
}
