package sandbox

import (
	"os"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stepexec/stepexec/container"
	"github.com/stepexec/stepexec/egress"
	"github.com/stepexec/stepexec/sandbox/network"
)

// Networks a step can have.
const (
	NetworkHost    = "host"    // the host's own network, no namespace
	NetworkNone    = "none"    // a namespace of its own with nothing but loopback
	NetworkPrivate = "private" // a namespace of its own, with an address on the run's bridge
)

// Step is all that a sandbox needs to know about a step. Everything in it is
// resolved: no variables, no relative paths.
type Step struct {
	ID        string              // unique within the Host, made of [a-zA-Z0-9_.-]
	Image     string              // the image as the user wrote it, for messages
	Lowerdirs []string            // the image's layers, directories or EROFS images, lowest first
	Config    ocispec.ImageConfig // the image's defaults

	Script     []byte   // run as Shell FILE; nil: run Entrypoint and Args
	Shell      []string // the command in front of the script's path
	Entrypoint []string // nil: the image's; set, the image's Cmd does not apply either
	Args       []string // nil: the image's Cmd

	Env            []string // K=V, on top of the image's
	Secrets        []Secret `json:"-"` // files below /run/secrets
	Mounts         []Mount
	Roots          []string // host directories that no mount source below them may lead out of, by links; Workspace is always one
	Upper          string   // what an earlier container has written and this one goes on from, see Sandbox.LeaveRoot; it stays; "": nothing
	Instead        []string // run in place of its command, which can be a script all the same; nil: that
	Workspace      string   // the host's directory that the steps share and write to; "": none
	WorkspaceBelow string   // of a Workspace that OwnWorkspace has made: the folder that it began as
	SafeDirectory  bool     // whether git works in folders of any owner, see withSafeDirectory
	Directory      string   // absolute; "": the image's working directory; made when missing
	User           string   // name, uid, name:group, uid:gid; "": the image's
	Network        string   // NetworkHost, NetworkNone or NetworkPrivate; "": NetworkHost
	Aliases        []string // names that lead to it on a private network, its own first
	Peers          []Peer   // services and detached steps of the run, which it reaches by name

	Egress  egress.Rules          // of a private network
	Refused func(network.Refusal) `json:"-"` // is told what Egress refuses; nil: nobody

	WorkspaceOwner *Owner // who gets the files of root in Workspace once the step has ended; nil: they stay root's

	Names    Names
	Limits   Limits
	Security Security
	Advanced Advanced

	Stdin          *os.File `json:"-"` // nil: /dev/null
	Stdout, Stderr *os.File `json:"-"` // write ends, inherited by the container; the caller closes its own; with a terminal all output goes to Stdout
}

// Owner is a user and a group of the host.
type Owner struct{ UID, GID uint32 }

// A step's container is described by the types of package container.
type (
	Names       = container.Names
	HostAddress = container.HostAddress
	Port        = container.Port
	Limits      = container.Limits
	Ulimit      = container.Ulimit
	Security    = container.Security
	Device      = container.Device
	IDMap       = container.IDMap
	Advanced    = container.Advanced
	Mount       = container.Mount
)

// Peer is a container of the run that has its names for all of the run.
type Peer struct {
	Names   []string // its own first
	Network string   // as that of a Step
}

// Secret is a file that only the step's user can read and that is never
// written to a disk.
type Secret struct {
	Path  string // absolute, below /run/secrets
	Value []byte
}

// program is an entrypoint, which is none when all of it is an empty string: docker takes
// ENTRYPOINT [""] so, and images use it to take away the entrypoint of their base.
func program(entrypoint []string) []string {
	if len(entrypoint) == 1 && entrypoint[0] == "" {
		return nil
	}
	return entrypoint
}

// command says what the container's init process runs. It is an error when
// neither the step nor the image names a command.
func (s *Step) command() ([]string, error) {
	var argv []string
	switch {
	case s.Script != nil:
		argv = append(append(argv, s.Shell...), ScriptPath)
	case s.Entrypoint != nil:
		argv = append(append(argv, program(s.Entrypoint)...), s.Args...)
	case s.Args != nil:
		argv = append(append(argv, program(s.Config.Entrypoint)...), s.Args...)
	default:
		argv = append(append(argv, program(s.Config.Entrypoint)...), s.Config.Cmd...)
	}
	if len(argv) == 0 {
		return nil, ErrNoCommand
	}
	return argv, nil
}
