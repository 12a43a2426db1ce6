package sandbox

import (
	"path/filepath"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// hookShell starts the hooks that run on the host in a directory of the host's.
const hookShell = "/bin/sh"

// confineHooks gives every hook of a spec an environment of its own, and a
// working directory that no image supplies. Hooks come from the host's CDI
// specifications and from a step's own spec, and run as root.
//
// A hook without an environment gets that of whoever executes it. For
// createContainer and startContainer hooks runc has set the container's by then:
// an image with LD_PRELOAD=./evil.so in its environment and that file at its root,
// which is their working directory, would run its code as root of the host
// (CVE-2025-23266). The other kinds would get stepexec's own variables, which
// may be secret, and prestart hooks begin wherever stepexec was started, which
// is the workspace.
//
//   - prestart, createRuntime, poststart and poststop hooks run in the host's
//     namespaces;
//   - createContainer hooks run programs of the host in the container's
//     namespaces, before its root file system is entered;
//   - startContainer hooks run programs of the image in the container, confined as
//     the step is. Only their environment needs to change.
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

// hookEnvironment returns what a hook asks for, or a PATH: runtimes hand on their
// own environment in place of an empty one.
func hookEnvironment(asked []string) []string {
	if len(asked) > 0 {
		return asked
	}
	return []string{"PATH=" + DefaultPath}
}

// beginAtRoot has a hook begin in /. A hook cannot name a working directory, so
// a shell enters it and becomes the hook. It reads no files: it is not
// interactive, and its environment is the hook's.
func beginAtRoot(hook *specs.Hook) {
	enter := []string{hookShell, "-c", `cd / && exec "$0" "$@"`}
	if hook.Path == hookShell && len(hook.Args) > len(enter) && slices.Equal(hook.Args[:len(enter)], enter) {
		return // of a spec that stepexec has printed
	}
	if !filepath.IsAbs(hook.Path) {
		return // the runtime refuses it, and says so
	}
	args := append(enter, hook.Path)
	if len(hook.Args) > 1 { // the first is the hook's name
		args = append(args, hook.Args[1:]...)
	}
	hook.Path, hook.Args = hookShell, args
}
