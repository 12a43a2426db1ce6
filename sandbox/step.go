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
	NetworkHost    = "host"    // the host's own network, without a namespace
	NetworkNone    = "none"    // a namespace of its own with only loopback
	NetworkPrivate = "private" // a namespace of its own, with an address on the run's bridge
)

// Step is everything that a sandbox needs to know about a step. All values are resolved: no
// variables, no relative paths.
type Step struct {
	ID        string              // unique within the Host, made of [a-zA-Z0-9_.-]
	Image     string              // the image as the user wrote it, for messages
	Lowerdirs []string            // the image's layers, directories or EROFS images, lowest first
	Config    ocispec.ImageConfig // the image's defaults

	Script     []byte   // run as Shell FILE; nil: run Entrypoint and Args
	Shell      []string // the command in front of the script's path
	Entrypoint []string // nil: the image's; if set, the image's Cmd does not apply either
	Args       []string // nil: the image's Cmd

	Env            []string // K=V, added to the image's
	Secrets        []Secret `json:"-"` // files below /run/secrets
	Mounts         []Mount
	Roots          []string // host directories out of which the links of a mount source below them must not lead; always includes Workspace
	Upper          string   // what an earlier container has written and this one goes on from, see Sandbox.LeaveRoot; it stays; "": nothing
	Instead        []string // program to run in place of the command, even of a script; nil: the command
	Workspace      string   // the host's directory that the steps share and write to; "": none
	WorkspaceBelow string   // for a Workspace from OwnWorkspace: the folder that it started as
	SafeDirectory  bool     // whether git works in folders of any owner, see withSafeDirectory
	Directory      string   // absolute; "": the image's working directory; made when missing
	User           string   // name, uid, name:group, uid:gid; "": the image's
	Network        string   // NetworkHost, NetworkNone or NetworkPrivate; "": NetworkHost
	Aliases        []string // names that lead to it on a private network, its own first
	Peers          []Peer   // services and detached steps of the run that it reaches by name

	Egress  egress.Rules          // of a private network
	Refused func(network.Refusal) `json:"-"` // receives the connections that Egress refuses; nil: nobody

	WorkspaceOwner *Owner // new owner of root's files in Workspace once the step has ended; nil: they stay root's

	Names    Names
	Limits   Limits
	Security Security
	Advanced Advanced

	Stdin          *os.File `json:"-"` // nil: /dev/null
	Stdout, Stderr *os.File `json:"-"` // write ends, inherited by the container; the caller closes its own; with a terminal all output goes to Stdout
}

// Owner is a user and a group of the host.
type Owner struct{ UID, GID uint32 }

// The types of package container describe a step's container.
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

// Peer is a container of the run whose names are known throughout the run.
type Peer struct {
	Names   []string // its own first
	Network string   // as in Step
}

// Secret is a file that only the step's user can read and that is never written to a disk.
type Secret struct {
	Path  string // absolute, below /run/secrets
	Value []byte
}

// program returns the entrypoint, or none if it consists of empty strings: docker treats ENTRYPOINT
// [""] like that, and images use it to remove the entrypoint of their base.
func program(entrypoint []string) []string {
	if len(entrypoint) == 1 && entrypoint[0] == "" {
		return nil
	}
	return entrypoint
}

// command returns the command of the container's init process. It returns an error when neither the
// step nor the image names a command.
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
