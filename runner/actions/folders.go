package actions

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/run"
)

// The names of folders that every runner has.
const (
	tempName      = "_temp"                 // below the work folder
	commandsName  = "_runner_file_commands" // in the former: files such as $GITHUB_ENV, new for each step
	externalsName = "externals"             // the runner's own programs, such as node
	externalsAt   = "/__e"                  // where the runner mounts them
)

// folders are the runner's own folders, which a job may use under any policy. None
// of them lies in a folder that a job may write into: a job could put a link in its place, and
// the next job would mount what the link names.
type folders struct {
	Work  string   // the work folder, _work; "": unknown
	Tools string   // the tool cache, where it is outside of the work folder
	Read  []string // folders that a job may only read
}

// foldersOf finds the folders by the variables that the runner sets for the hook, and by the
// mounts that it asks for. Steps cannot set variables that begin with RUNNER_.
func foldersOf(env func(string) string, containers ...*Container) folders {
	var f folders
	temp, workspace := clean(env("RUNNER_TEMP")), clean(env("GITHUB_WORKSPACE"))
	if work := filepath.Dir(temp); filepath.Base(temp) == tempName && isBelow(workspace, work) {
		f.Work = work
		f.Read = append(f.Read, filepath.Join(filepath.Dir(work), externalsName))
	}
	if tools := clean(env("RUNNER_TOOL_CACHE")); tools != "" && !isBelow(tools, f.Work) {
		f.Tools = tools
	}
	for _, c := range containers {
		if c == nil {
			continue
		}
		for _, v := range c.SystemMounts {
			source := clean(v.Source)
			if v.Target == externalsAt && filepath.Base(source) == externalsName && !isBelow(source, f.Work) && !slices.Contains(f.Read, source) {
				f.Read = append(f.Read, source)
			}
		}
	}
	return f
}

// own are the folders that a job may use under any policy: the runner mounts them by itself.
func (f *folders) own() run.Folders {
	own := run.Folders{Read: f.Read}
	for _, folder := range []string{f.Work, f.Tools} {
		if folder != "" {
			own.Write = append(own.Write, folder)
		}
	}
	return own
}

// clean is an absolute path in its shortest form; "" for any other path and for the root.
func clean(path string) string {
	if path = filepath.Clean(path); !filepath.IsAbs(path) || path == "/" {
		return ""
	}
	return path
}

// isBelow reports whether a clean path is inside a folder.
func isBelow(path, folder string) bool {
	return folder != "" && strings.HasPrefix(path, folder+"/")
}
