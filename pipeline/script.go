package pipeline

import (
	"path"
	"slices"
	"strings"
)

// defaultShell is in every image that has a shell at all.
const defaultShell = "/bin/sh"

// posixShells are the shells that know printf '%s\n' '...' and -e.
var posixShells = []string{"sh", "bash", "dash", "ash", "ksh", "zsh"}

func isPosix(program string) bool {
	return slices.Contains(posixShells, path.Base(program))
}

// withOptions is the argv for a shell that was given by its name alone.
func withOptions(program string) []string {
	switch {
	case path.Base(program) == "bash":
		return []string{program, "-e", "-o", "pipefail"}
	case isPosix(program):
		return []string{program, "-e"}
	}
	return []string{program}
}

// script is the file that the shell runs: the commands, each behind a line that
// shows it. Shells that are not POSIX-like get the commands alone.
//
// The text shown stands in single quotes, where a shell evaluates nothing, and is
// an argument of printf, not its format. Through echo, as other runners do it, a
// command with backticks would run twice.
func script(shell, commands []string) []byte {
	var b strings.Builder
	for _, command := range commands {
		if !isPosix(shell[0]) {
			b.WriteString(command + "\n")
			continue
		}
		shown := "+ " + strings.ReplaceAll(strings.TrimRight(command, "\n"), "\n", "\n+ ")
		b.WriteString("printf '%s\\n' '" + strings.ReplaceAll(shown, "'", `'\''`) + "'\n")
		// The empty line ends a command with a backslash at its end.
		b.WriteString(command + "\n\n")
	}
	return []byte(b.String())
}
