package drone

import (
	"fmt"

	"github.com/stepexec/stepexec/pipeline"
)

// netrcSecret is no name that a secret of a pipeline can have by chance.
const netrcSecret = "drone netrc"

// netrcFile is where a step finds the file's content.
const netrcFile = pipeline.SecretDirectory + "/netrc"

// prelude writes the .netrc of whoever runs the step, where the user can write to its home, and
// then runs the script. Elsewhere the step has none, and does not fail because of that: HOME may be
// unset, /dev/null, or on a read-only mount.
const prelude = `if [ -d "$HOME" ] && [ -w "$HOME" ]; then (umask 077; cat ` + netrcFile + ` >"$HOME/.netrc") || :; fi; exec /bin/sh -e "$0"`

// giveNetrc lets a step with commands reach the git server.
func (t *translation) giveNetrc(s *pipeline.Step) {
	n := t.o.Netrc
	t.set.Secrets[netrcSecret] = fmt.Sprintf("machine %s\nlogin %s\npassword %s\n", n.Machine, n.Login, n.Password)
	s.Secrets = append(s.Secrets, pipeline.SecretUse{Position: s.Position, Name: netrcSecret, File: netrcFile})
	s.Shell = []string{"/bin/sh", "-ec", prelude}
}

// netrcVariables are for plugins, of which the clone step is one.
func (t *translation) netrcVariables(step string) []pipeline.Variable {
	n := t.o.Netrc
	if n == nil || !t.others[step] || t.o.NetrcCloneOnly && step != cloneName {
		return nil
	}
	secret := func(name, text string) pipeline.Variable {
		return pipeline.Variable{Name: name, Value: pipeline.Value{Text: text}}
	}
	return []pipeline.Variable{
		secret("DRONE_NETRC_MACHINE", n.Machine), secret("DRONE_NETRC_USERNAME", n.Login), secret("DRONE_NETRC_PASSWORD", n.Password),
		secret("DRONE_NETRC_FILE", fmt.Sprintf("machine %s login %s password %s", n.Machine, n.Login, n.Password)),
	}
}
