package sandbox

import (
	"os"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Networks a step can have.
const (
	NetworkHost = "host" // the host's own network, no namespace
	NetworkNone = "none" // a namespace of its own with nothing but loopback
)

// Step is all that a sandbox needs to know about a step. Everything in it is
// resolved: no variables, no relative paths.
type Step struct {
	ID        string              // unique within the Host, made of [a-zA-Z0-9_.-]
	Image     string              // the image as the user wrote it, for messages
	Lowerdirs []string            // the image's layer directories, lowest first
	Config    ocispec.ImageConfig // the image's defaults

	Script     []byte   // run as Shell FILE; nil: run Entrypoint and Args
	Shell      []string // the command in front of the script's path
	Entrypoint []string // nil: the image's; set, the image's Cmd does not apply either
	Args       []string // nil: the image's Cmd

	Env       []string // K=V, on top of the image's
	Secrets   []Secret // files below /run/secrets
	Mounts    []Mount
	Directory string   // absolute; "": the image's working directory; made when missing
	User      string   // name, uid, name:group, uid:gid; "": the image's
	Network   string   // NetworkHost or NetworkNone; "": NetworkHost
	HostNames []string // names that resolve to 127.0.0.1 in the step

	Privileged bool
	Memory     int64   // bytes; 0: no limit
	CPUs       float64 // cores; 0: no limit

	Stdout, Stderr *os.File // write ends, inherited by the container; the caller closes its own
}

// Secret is a file that only the step's user can read and that is never
// written to a disk.
type Secret struct {
	Path  string // absolute, below /run/secrets
	Value []byte
}

// Mount is a bind mount or a tmpfs.
type Mount struct {
	Type        string   // "bind" or "tmpfs"
	Source      string   // absolute host path of a bind mount
	Destination string   // absolute path in the container
	Options     []string // as in mount(8) and the OCI runtime spec
	Create      bool     // make a missing source directory
}

// command says what the container's init process runs. It is an error when
// neither the step nor the image names a command.
func (s *Step) command() ([]string, error) {
	var argv []string
	switch {
	case s.Script != nil:
		argv = append(append(argv, s.Shell...), scriptPath)
	case s.Entrypoint != nil:
		argv = append(append(argv, s.Entrypoint...), s.Args...)
	case s.Args != nil:
		argv = append(append(argv, s.Config.Entrypoint...), s.Args...)
	default:
		argv = append(append(argv, s.Config.Entrypoint...), s.Config.Cmd...)
	}
	if len(argv) == 0 {
		return nil, ErrNoCommand
	}
	return argv, nil
}
