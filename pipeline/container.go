package pipeline

// Names say how a step resolves host names, and what it calls itself.
type Names struct {
	Hostname   string   // "" is the host's
	DNS        []string // addresses of name servers in place of the host's
	DNSSearch  []string
	DNSOptions []string
	ExtraHosts []HostAddress // in the order of the file
	Ports      []Port
}

// HostAddress is a name in a step's /etc/hosts.
type HostAddress struct{ Name, Address string }

// Port is a port of the host that leads to one of a step on a private network.
type Port struct {
	HostIP    string // "" is 127.0.0.1
	Host      int    // 0 is the same as Container
	Container int
	Protocol  string // "tcp" or "udp"
}

// Limits bound what a step may use. Zero values are no limit.
type Limits struct {
	CPUs                   float64 // of one CPU
	CPUQuota, CPUPeriod    int64   // microseconds, in place of CPUs
	CPUShares              int64   // relative weight, 2 to 262144; 1024 is usual
	CpusetCPUs, CpusetMems string  // lists such as 0-3,8
	Memory                 int64   // bytes
	MemorySwap             int64   // bytes of memory and swap together; -1 is swap without limit
	Pids                   int64   // processes and threads
	IOWeight               int64   // relative weight, 10 to 1000
	ShmSize                int64   // bytes of /dev/shm
	Ulimits                []Ulimit
}

// Ulimit is a limit of setrlimit(2) for every process of a step.
type Ulimit struct {
	Name       string // such as nofile
	Soft, Hard int64  // -1 is unlimited
}

// Security says how a step differs from the usual confinement.
type Security struct {
	Privileged         bool
	AllowNewPrivileges bool
	ReadOnly           bool     // the root file system
	CapAdd, CapDrop    []string // such as NET_ADMIN, or ALL
	Seccomp            string   // "", "default", "unconfined" or the path of a profile
	AppArmor           string   // a profile, or "unconfined"; "" is none
	Devices            []Device
	CDI                []string // names of the Container Device Interface, vendor.com/class=name
	UIDMap, GIDMap     []IDMap  // of a user namespace; nil is none
}

// Device is a device node of the host, or a directory of them.
type Device struct {
	Source      string // on the host
	Destination string // in the container
	Permissions string // of r, w and m
}

// IDMap maps Size ids from Container on to those from Host on.
type IDMap struct{ Container, Host, Size uint32 }

// Advanced are the settings of few steps.
type Advanced struct {
	TTY          bool              // a terminal for all three streams
	Namespaces   map[string]string // to join: type, as in the OCI runtime specification, to path
	Labels       map[string]string // OCI annotations
	CgroupParent string
	PidFile      string // takes the pid of the step's process; "" is nowhere
	Spec         []byte // an OCI config.json in place of everything else; nil is none
	SpecPatch    []byte // a JSON merge patch (RFC 7396) of the generated one; nil is none
}

// StdinInherited as [Step.Stdin] is the standard input of stepexec itself.
const StdinInherited = "-"

// OutputNone as [Step.Output] throws away what a step prints.
const OutputNone = "none"

// Owner takes over the files that a step has made as root in the workspace.
type Owner struct {
	UID, GID  uint32
	Workspace bool // who owns the folder of the workspace, in place of UID and GID
}
