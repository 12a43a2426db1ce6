package sandbox

import (
	"path/filepath"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// hookShell starts the host's hooks in a directory of the host.
const hookShell = "/bin/sh"

// confineHooks gives every hook of a spec its own environment, and a working directory that no
// image supplies. Hooks come from the host's CDI specifications and from a step's own spec, and run
// as root.
//
// A hook without an environment inherits the environment of the process that executes it. For
// createContainer and startContainer hooks that is the container's by then: an image with
// LD_PRELOAD=./evil.so in its environment, and that file at its root, which is their working
// directory, would run its code as root of the host (CVE-2025-23266). The other kinds would get
// stepexec's own variables, which may be secret, and prestart hooks would start in stepexec's
// working directory, which is the workspace.
//
//   - prestart, createRuntime, poststart and poststop hooks run in the host's namespaces;
//   - createContainer hooks run programs of the host in the container's namespaces, before its root
//     file system is entered;
//   - startContainer hooks run programs of the image in the container, confined like the step. Only
//     their environment needs to change.
func confineHooks(hooks *specs.Hooks) {
	if hooks == nil {
		return
	}
	//lint:ignore SA1019 Prestart is deprecated, and CDI specifications and runtimes have it
	for _, onHost := range [][]specs.Hook{hooks.Prestart, hooks.CreateRuntime, hooks.CreateContainer, hooks.Poststart, hooks.Poststop} {
		for i := range onHost {
			onHost[i].Env = hookEnvironment(onHost[i].Env)
			beginAtRoot(&onHost[i])
		}
	}
	for i := range hooks.StartContainer {
		hooks.StartContainer[i].Env = hookEnvironment(hooks.StartContainer[i].Env)
	}
}

// hookEnvironment returns the environment that a hook asks for, or just a PATH: in place of an
// empty environment, runtimes pass on their own.
func hookEnvironment(asked []string) []string {
	if len(asked) > 0 {
		return asked
	}
	return []string{"PATH=" + DefaultPath}
}

// beginAtRoot makes a hook start in /. A hook cannot name a working directory, so a shell enters it
// and then executes the hook. The shell reads no files: it is not interactive, and its environment
// is the hook's.
func beginAtRoot(hook *specs.Hook) {
	enter := []string{hookShell, "-c", `cd / && exec "$0" "$@"`}
	if hook.Path == hookShell && len(hook.Args) > len(enter) && slices.Equal(hook.Args[:len(enter)], enter) {
		return // of a spec that was printed by stepexec
	}
	if !filepath.IsAbs(hook.Path) {
		return // the runtime refuses it with an error
	}
	args := append(enter, hook.Path)
	if len(hook.Args) > 1 { // the first one is the hook's name
		args = append(args, hook.Args[1:]...)
	}
	hook.Path, hook.Args = hookShell, args
}
