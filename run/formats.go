package run

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/stepexec/stepexec/pipeline"
)

// A format reads files of one CI system.
type format struct {
	name  string
	files []string // files, or folders, where `run` looks without FILE
	event string   // that a build on the command line has, when nothing says another

	named func(path string, isFolder bool) bool // the name says that it is of this format
	holds func(content []byte) bool             // so does what is in the file; nil: its name alone tells

	// root is the folder that holds the repository: the workspace.
	root func(path string) string

	// load reads a file, or a folder. The error is a pipeline.Errors, where the file is to
	// blame.
	load func(path string, in formatInputs) (*pipeline.Set, error)
}

// formatInputs are what conditions and substitutions of a format may depend on.
type formatInputs struct {
	build   pipeline.Build
	environ []string // NAME=value of --env and --env-file
	network string   // of steps that name none
	plugins []string // that are privileged by themselves, beside the usual ones
	docker  bool     // pipelines of other types run as those of type docker
	raw     bool     // for convert: nothing of the build is put into the pipelines
}

// foreignNetwork is the network of steps of other CI systems' files that name none: as with
// docker, each has an address and a localhost of its own.
const foreignNetwork = "private"

// formats are those beside the native one. Woodpecker's comes first: all files in its folder
// are its own, whatever their names are.
func formats() []format { return []format{woodpeckerFormat(), droneFormat()} }

// nativeFiles are where `run` and `validate` look first without FILE.
func nativeFiles() []string { return []string{"pipeline.yml", "pipeline.yaml", ".stepexec.yml"} }

// FindFile returns file, or the default pipeline file of a directory: of file if it is one, and of the working
// directory when file is "".
func FindFile(file string) (string, error) {
	if file == "" {
		return findIn("", "the working directory")
	}
	if info, err := os.Stat(file); err == nil && info.IsDir() && !IsFormatFolder(file) {
		return findIn(file, file)
	}
	return file, nil
}

// findIn returns the default pipeline file of a directory, which an error calls by the given words.
func findIn(dir, words string) (string, error) {
	all := nativeFiles()
	found, err := firstFile(dir, all)
	if found != "" || err != nil {
		return found, err
	}
	for _, f := range formats() {
		name, err := firstFile(dir, f.files)
		if err != nil {
			return "", err
		}
		if name != "" && found != "" {
			return "", fmt.Errorf("there are %s and %s in %s (name one of them)", found, name, words)
		}
		found = cmp.Or(found, name)
		all = append(all, f.files...)
	}
	if found == "" {
		return "", fmt.Errorf("no pipeline file in %s: looked for %s (name one: stepexec run FILE)", words, strings.Join(all, ", "))
	}
	return found, nil
}

func firstFile(dir string, names []string) (string, error) {
	for _, name := range names {
		name = filepath.Join(dir, name)
		_, err := os.Stat(name)
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", nil
}

// formatOf is the format of a file or folder, nil for the native one. Its name decides where
// it tells, and otherwise its content.
func formatOf(path string) (*format, error) {
	content, err := pipeline.ReadFile(path)
	isFolder := errors.Is(err, syscall.EISDIR)
	if err != nil && !isFolder {
		return nil, fmt.Errorf("read pipeline file: %w%s", err, similarFile(path, err))
	}
	all := formats()
	at := slices.IndexFunc(all, func(f format) bool { return f.named(path, isFolder) })
	if at < 0 && !isFolder {
		at = slices.IndexFunc(all, func(f format) bool { return f.holds != nil && f.holds(content) })
	}
	switch {
	case at >= 0:
		return &all[at], nil
	case isFolder:
		return nil, fmt.Errorf("read pipeline file: %s is a directory (name a file in it)", path)
	}
	if system := otherSystem(path, content); system != "" {
		return nil, fmt.Errorf("%s is a file of %s, which stepexec does not read (write its steps in a pipeline.yml, as docs/pipeline.md says; files of Drone and Woodpecker run as they are)", path, system)
	}
	return nil, nil
}

// similarFile is a hint at the file beside a missing one whose name is the most like it.
func similarFile(path string, missing error) string {
	if !errors.Is(missing, fs.ErrNotExist) {
		return ""
	}
	entries, _ := os.ReadDir(filepath.Dir(path)) // without them there is nothing to hint at
	var names []string
	for _, entry := range entries {
		if !entry.IsDir() && slices.Contains([]string{".yml", ".yaml", ".star", ".jsonnet", ".json"}, filepath.Ext(entry.Name())) {
			names = append(names, entry.Name())
		}
	}
	if hint := pipeline.DidYouMean(filepath.Base(path), names); hint != "" {
		return " (" + hint + ")"
	}
	return ""
}

// IsFormatFolder reports whether a folder holds the pipeline files of a CI system.
func IsFormatFolder(path string) bool {
	return slices.ContainsFunc(formats(), func(f format) bool { return f.named(path, true) })
}

// FormatOfName is the CI system that the name of a file says it is of, such as drone; "" where
// it says none.
func FormatOfName(path string) string {
	for _, f := range formats() {
		if f.named(path, false) {
			return f.name
		}
	}
	return ""
}
