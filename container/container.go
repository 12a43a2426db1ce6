// Package container holds what a step's container is asked to have, apart from
// its image and its command: names, ports, limits, confinement, devices and
// mounts. Package pipeline reads these types from files, and package sandbox
// makes containers of them.
//
// The package has no logic. A zero value means the default throughout.
package container

// Names are the host names that a step resolves and the one that it has.
type Names struct {
	Hostname   string        // at most 64 bytes; "" is the host's name on the host's network, and the sandbox's ID otherwise
	DNS        []string      // addresses of name servers, in place of the host's
	DNSSearch  []string      // search domains, in place of the host's
	DNSOptions []string      // options of resolv.conf(5), in place of the host's
	Aliases    []string      // further names that lead to the step; a private network only
	ExtraHosts []HostAddress // lines of /etc/hosts, in order
	Ports      []Port        // published ports; a private network only
}

// HostGateway in place of the address of a HostAddress is the host itself, as a
// private network reaches it.
const HostGateway = "host-gateway"

// HostAddress is a line of /etc/hosts.
type HostAddress struct{ Name, Address string } // Address may be HostGateway

// DefaultHostIP is the host's address of a published port that names none.
const DefaultHostIP = "127.0.0.1"

// Port is a port of the host that leads to a port of a step on a private network.
type Port struct {
	HostIP    string // address of the host; "" is DefaultHostIP
	Host      int    // port of the host; 0 is the same as Container
	Container int    // port of the step
	Protocol  string // "tcp" or "udp"; "" is tcp
}

// Limits bound the resources that a step may use. Zero is no limit unless the
// field says otherwise.
type Limits struct {
	CPUs                   float64  // number of CPUs
	CPUQuota, CPUPeriod    int64    // microseconds; both are set, in place of CPUs
	CPUShares              int64    // relative weight, 2 to 262144; 1024 is usual
	CpusetCPUs, CpusetMems string   // lists such as 0-3,8
	Memory                 int64    // bytes
	MemorySwap             int64    // bytes of memory and swap together; 0 is twice Memory, -1 is unlimited swap
	Pids                   int64    // processes and threads; 0 is the sandbox's default, -1 is no limit
	IOWeight               int64    // relative weight, 10 to 1000
	ShmSize                int64    // bytes of /dev/shm; 0 is 64 MiB
	Ulimits                []Ulimit // limits of each process
}

// Ulimit is a limit of setrlimit(2) for every process of a step.
type Ulimit struct {
	Name       string // such as nofile
	Soft, Hard int64  // -1 is unlimited
}

// Security is the difference between a step's confinement and the default.
type Security struct {
	Privileged         bool     // all capabilities, whatever CapDrop says, and all devices; no masked paths; seccomp and AppArmor only as profiles by name
	AllowNewPrivileges bool     // whether setuid programs work
	Unmask             bool     // whether the files of /proc and /sys that containers do not see are visible, and may be written where the kernel lets them
	ReadOnly           bool     // whether the root file system is read-only
	CapAdd, CapDrop    []string // capabilities such as NET_ADMIN, CAP_NET_ADMIN or ALL
	Seccomp            string   // "" or "default", "unconfined", or the path of a profile in docker's JSON
	AppArmor           string   // name of a loaded profile, or "unconfined"; "" is none
	Devices            []Device // devices of the host
	CDI                []string // qualified device names of the Container Device Interface, vendor.com/class=name
	UIDMap, GIDMap     []IDMap  // maps of a user namespace; nil is none
	Groups             []string // supplementary groups on top of the user's own: names of the image's /etc/group, or numbers
}

// Device is a device node of the host, or a directory of them.
type Device struct {
	Source      string // path on the host
	Destination string // path in the container; "" is Source
	Permissions string // of r, w and m; "" is rwm
}

// IDMap maps Size IDs from Container onwards to those from Host onwards.
type IDMap struct{ Container, Host, Size uint32 }

// Advanced are settings that few steps have.
type Advanced struct {
	TTY          bool              // whether a terminal is stdin, stdout and stderr
	Init         bool              // whether process 1 is an init process that starts the command
	Namespaces   map[string]string // namespaces to join: type (network, pid, ipc, uts or cgroup) to path
	Sysctls      map[string]string // settings of the kernel, of namespaces that are the container's own
	Labels       map[string]string // OCI annotations
	StopSignal   string            // name or number of the signal that asks the step to end; "" is the image's
	CgroupParent string            // absolute path, or a slice with the systemd cgroup driver; "" is the root, or system.slice
	PidFile      string            // file for the process ID of the step; "" is none
	IDFile       string            // file for the ID of the run, which must not exist; "" is none
	Spec         []byte            // an OCI config.json in place of the generated one, but for the root path; nil is none
	SpecPatch    []byte            // a JSON merge patch (RFC 7396) of the generated config.json; nil is none
}

// Mount is a bind mount, a tmpfs, or a mount whose source has a name that the
// engine turns into a path. ctr and docker call its parts by the same names.
type Mount struct {
	Type        string   // "bind" or "tmpfs"; in a pipeline also the type of a volume or cache
	Source      string   // absolute path on the host; "tmpfs" for a tmpfs; the name of a volume or cache
	Destination string   // absolute, clean path in the container
	Options     []string // as in mount(8) and the OCI runtime specification; a bind mount has bind or rbind among them
	Create      bool     // whether a missing source directory is made
	Fill        bool     `json:",omitempty"` // whether an empty cache begins with what the image has at Destination, with owner and mode

	// Owned gives a bind mount to the container's user: what belongs to the source's owner belongs to
	// that user in the container, and the other way round. Without root, the user may write what the
	// owner may, and what it makes becomes the owner's at the end of the run. Not a key of files.
	Owned bool `json:",omitempty"`
}
