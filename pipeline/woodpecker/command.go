package woodpecker

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/stepexec/stepexec/pipeline"
)

// command gives a step what it runs. Commands are a script in a file; an entrypoint takes
// the place of their shell, and finds them in CI_SCRIPT.
func (t *translator) command(s *Step, step *pipeline.Step) {
	shell, piped := pipedShell(s.Entrypoint)
	switch {
	case len(s.Entrypoint) > 0 && !(piped && len(s.Commands) > 0):
		step.Entrypoint = s.Entrypoint
		if len(s.Commands) > 0 && s.WorkspaceBase != "" {
			step.Directory = s.WorkspaceBase // the script goes from there to the working directory
		}
	case len(s.Commands) > 0:
		step.Commands = filled(s.Commands)
		if piped {
			step.Shell = shell
		}
		if s.Environment["CI_NETRC_MACHINE"] != "" {
			step.Shell = slices.Concat(shell, []string{"-c", netrc + `. "$0"`})
		}
	}
}

// filled leaves out empty commands, which do nothing but show a line.
func filled(commands []string) []string {
	kept := slices.DeleteFunc(slices.Clone(commands), func(c string) bool { return strings.TrimSpace(c) == "" })
	if len(kept) == 0 {
		return []string{":"}
	}
	return kept
}

var pipeForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\s*echo\s+"?\$\{?CI_SCRIPT\}?"?\s*\|\s*base64\s+(?:-d|-D|--decode)\s*\|\s*(\S+)((?:\s+-[A-Za-z]+(?:\s+pipefail)?)*)\s*$`)
})

// pipedShell knows the entrypoints that decode CI_SCRIPT and pipe it into a shell, which
// is how the documentation says to choose one. A shell that reads its script from standard
// input loses the rest of it to the first command that reads there, and has run all of it as
// far as anyone can tell; in an image without base64 it runs nothing, with success. The
// shell gets the script as a file in its place.
func pipedShell(entrypoint []string) (shell []string, piped bool) {
	shell = []string{"/bin/sh", "-e"}
	if len(entrypoint) != 3 || entrypoint[1] != "-c" {
		return shell, false
	}
	parts := pipeForm().FindStringSubmatch(entrypoint[2])
	if parts == nil {
		return shell, false
	}
	return append([]string{parts[1]}, strings.Fields(parts[2])...), true
}

// netrc writes the login for a clone by http, as the beginning of the script does that
// other agents make, where the step's user can write to its home. Elsewhere the step has none,
// and does not fail because of that: HOME may be unset, /dev/null, or on a read-only mount.
const netrc = `if [ -d "$HOME" ] && [ -w "$HOME" ]; then (umask 077; printf 'machine %s\nlogin %s\npassword %s\n' "$CI_NETRC_MACHINE" "$CI_NETRC_USERNAME" "$CI_NETRC_PASSWORD" >"$HOME/.netrc") || :; fi
unset CI_NETRC_USERNAME CI_NETRC_PASSWORD CI_SCRIPT
`

// environment are the variables of a step: its own, and what an agent adds.
func environment(s *Step) map[string]string {
	env := map[string]string{}
	for name, value := range s.Environment {
		env[name] = value
	}
	if s.Type == TypePlugin {
		addDrone(env)
	}
	for name := range runFacts {
		if name != "DRONE_BUILD_STATUS" || s.Type == TypePlugin {
			env[name] = ""
		}
	}
	env["CI_STEP_TYPE"], env["CI_STEP_NAME"] = s.Type, s.Name
	if len(s.Commands) > 0 {
		env["SHELL"] = "/bin/sh"
		if len(s.Entrypoint) > 0 {
			env["CI_SCRIPT"] = encodedScript(s)
		}
	}
	return env
}

func encodedScript(s *Step) string { return base64.StdEncoding.EncodeToString([]byte(script(s))) }

// script is what an entrypoint of the user's own finds in CI_SCRIPT.
func script(s *Step) string {
	var b strings.Builder
	fmt.Fprintf(&b, "if [ -n \"$CI_NETRC_MACHINE\" ]; then\n%sfi\nunset CI_NETRC_USERNAME CI_NETRC_PASSWORD CI_SCRIPT\n", netrc)
	fmt.Fprintf(&b, "mkdir -p %s\ncd %s\n", quoted(s.WorkingDir), quoted(s.WorkingDir))
	for _, command := range s.Commands {
		shown := "+ " + strings.ReplaceAll(strings.TrimRight(command, "\n"), "\n", "\n+ ")
		fmt.Fprintf(&b, "printf '%%s\\n' %s\n%s\n\n", quoted(shown), command)
	}
	return b.String()
}

// quoted is text in single quotes of a shell.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
