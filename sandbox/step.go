package sandbox

import (
	"os"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Networks a step can have.
const (
	NetworkHost    = "host"    // the host's own network, no namespace
	NetworkNone    = "none"    // a namespace of its own with nothing but loopback
	NetworkPrivate = "private" // a namespace of the run, which its steps share; IPv4 behind the host's address
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
	Directory      string   // absolute; "": the image's working directory; made when missing
	User           string   // name, uid, name:group, uid:gid; "": the image's
	Network        string   // NetworkHost, NetworkNone or NetworkPrivate; "": NetworkHost
	HostNames      []string // names that resolve to 127.0.0.1 in the step

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

// Names say how a step resolves host names, and what it calls itself.
type Names struct {
	Hostname   string   // at most 64 bytes; "": the host's on its network, else the step's ID
	DNS        []string // addresses of name servers in place of the host's
	DNSSearch  []string
	DNSOptions []string
	ExtraHosts []HostAddress // lines of /etc/hosts
	Ports      []Port        // of NetworkPrivate: what the host forwards into the run's namespace
}

// HostAddress is a line of /etc/hosts.
type HostAddress struct{ Name, Address string }

// Port is a port of the host that leads to one of a step.
type Port struct {
	HostIP    string // an IPv4 address; "": 127.0.0.1
	Host      int    // 0: the same as Container
	Container int
	Protocol  string // "tcp" or "udp"; "": tcp
}

// Limits bound what a step may use. Zero values are no limit, but for those
// that say otherwise.
type Limits struct {
	CPUs                   float64 // cores
	CPUQuota, CPUPeriod    int64   // microseconds; both, in place of CPUs
	CPUShares              int64   // relative weight, 2 to 262144, 1024 is usual
	CpusetCPUs, CpusetMems string  // lists such as 0-3,8
	Memory                 int64   // bytes
	MemorySwap             int64   // bytes of memory and swap together; 0: twice Memory, as docker has it; -1: swap without limit
	Pids                   int64   // processes and threads; 0: DefaultPids; -1: no limit
	IOWeight               int64   // relative weight, 10 to 1000
	ShmSize                int64   // bytes of /dev/shm; 0: 64 MiB
	Ulimits                []Ulimit
}

// Ulimit is a limit of setrlimit(2), for every process of a step.
type Ulimit struct {
	Name       string // such as nofile
	Soft, Hard int64  // -1: unlimited
}

// Security says how a step differs from the usual confinement.
type Security struct {
	Privileged         bool     // all capabilities, whatever CapDrop says, and devices; no masked paths; seccomp and AppArmor only as profiles by name
	AllowNewPrivileges bool     // setuid programs work
	ReadOnly           bool     // the root file system
	CapAdd, CapDrop    []string // such as NET_ADMIN, CAP_NET_ADMIN or ALL
	Seccomp            string   // "" or "default", "unconfined", or the path of a profile in docker's JSON
	AppArmor           string   // a loaded profile, or "unconfined"; "": none
	Devices            []Device
	CDI                []string // qualified device names of the Container Device Interface, vendor.com/class=name
	UIDMap, GIDMap     []IDMap  // of a user namespace; nil: none
}

// Device is a device node of the host, or a directory of them, that a step may use.
type Device struct {
	Source      string // on the host
	Destination string // in the container; "": as on the host
	Permissions string // of r, w and m; "": rwm
}

// IDMap maps Size ids from Container on to those from Host on.
type IDMap struct{ Container, Host, Size uint32 }

// Advanced are the settings of few steps.
type Advanced struct {
	TTY          bool              // a terminal as stdin, stdout and stderr; see Terminal
	Namespaces   map[string]string // to join: type (network, pid, ipc, uts or cgroup) to path
	Labels       map[string]string // OCI annotations
	CgroupParent string            // an absolute path, or with Options.SystemdCgroup a slice; "": the root, or system.slice
	PidFile      string            // where to write the pid of the step's process; "": nowhere
	Spec         []byte            // an OCI config.json that is used as it is, but for the root path; nil: none
	SpecPatch    []byte            // a JSON merge patch (RFC 7396) of the generated one; nil: none
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
		argv = append(append(argv, s.Shell...), ScriptPath)
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
