package policy

import (
	"slices"

	"github.com/stepexec/stepexec/egress"
	"github.com/stepexec/stepexec/signature"
)

// Policy is what pipelines may ask for. The zero value allows nothing of the
// host, and no network.
type Policy struct {
	name  string // of the file, or of the built-in policy, for messages
	all   bool
	rules rules
	at    map[string]position // where in the file a key is
}

// rules are the keys of a policy file. A key that is left out allows nothing, unless its
// comment says otherwise.
type rules struct {
	mounts             []hostPath      // mounts
	privilegedImages   []image         // privileged_images
	allowImages        []image         // images: allow; nil allows every image of a registry
	denyImages         []image         // images: deny
	verifyImages       signature.Rules // verify_images: which images must be signed, and by whom
	pull               string          // pull policy of every image; "" leaves it to the step
	networks           []string        // networks
	egress             *egress.Rules   // egress; nil leaves it to the step
	ports              []portRange     // ports: addresses of the host, with ranges of ports
	labels             []string        // labels: prefixes among those that runtimes obey
	devices            []string        // devices: paths of the host, kinds and names of CDI devices
	capabilities       []string        // capabilities, without CAP_
	hostEnvironment    []string        // host_environment
	cgroupParents      []string        // cgroup_parents
	seccomp            bool            // seccomp: another profile than the default, or none
	apparmor           bool            // apparmor: another profile than the default, or none
	allowNewPrivileges bool            // allow_new_privileges
	unmask             bool            // unmask: the hidden files of /proc and /sys
	userNamespaces     bool            // user_namespaces: uidmap and gidmap
	spec               bool            // spec: a raw OCI spec, or a patch of the generated one
	keep               bool            // keep: root file systems that stay after the run
	keyedCaches        bool            // keyed_caches: saved and restored within the scopes of the run
	cacheStores        []string        // cache_stores: patterns of stores beyond this machine
	namespaces         bool            // namespaces: joining those of other processes
	stdin              bool            // stdin: the standard input of stepexec itself
	noMknod            bool            // no_mknod: steps cannot make device nodes
	nosuid             bool            // nosuid: set-user-ID files in the workspace have no effect
	limits             ceilings        // limits; 0 is no ceiling
	repositories       []repository    // repositories: other rules for the pipelines of some
	ofRunner           []string        // sources of mounts that the runner itself gives to every step
	passed             []string        // NAME=value of the runner's own that privileged images get, too
	volumes            string          // beginning of the names of caches that are always allowed; "": none
}

// hostPath is a directory or file of the host that steps may use, with all that
// is below it.
type hostPath struct {
	path  string
	write bool
}

type position struct{ line, column int }

// Trusted allows everything.
func Trusted() *Policy { return &Policy{name: "trusted", all: true} }

// Untrusted is for pipelines that anybody may write, such as those of pull
// requests. It allows what CI systems of containers give to a repository that
// is not trusted: a network apart from the host's, ports of the host's loopback, and
// nothing else of the host.
func Untrusted() *Policy { return &Policy{name: "untrusted", rules: untrusted()} }

func untrusted() rules {
	return rules{
		networks: []string{"none", "private"},
		ports:    []portRange{{address: loopback, first: 1024, last: 65535}},
		noMknod:  true,
		nosuid:   true,
		limits:   ceilings{pids: DefaultPids, ulimits: map[string]int64{"rtprio": 0, "nice": 0}}, // a step must not run in front of all others
	}
}

// DefaultPids is the ceiling of processes and threads of a step under the built-in
// policies, which is also what a step has that asks for nothing.
const DefaultPids = 16384

// Trust is what a CI server says about a repository, and what the runner gives to every step.
type Trust struct {
	Network  bool // steps may be on the host's network, and publish ports there
	Volumes  bool // steps may mount any path of the host and use caches of any name
	Devices  bool // steps may have devices of the host
	Security bool // steps may be privileged, and have what takes confinement away

	PrivilegedImages []string // images that are privileged as they are, like plugins/docker

	HostNetwork bool     // the runner puts steps on the host's network
	Mounts      []string // paths of the host that the runner mounts into every step
	DevicePaths []string // devices of the host that the runner gives to every step
}

// FromServer is for pipelines that a CI server hands out: what [Untrusted] allows, setuid
// programs, and what the server's own word on the repository adds. The error is about PrivilegedImages.
func FromServer(t Trust) (*Policy, error) {
	r := untrusted()
	for _, pattern := range t.PrivilegedImages {
		parsed, err := parseImage(pattern)
		if err != nil {
			return nil, err
		}
		r.privilegedImages = append(r.privilegedImages, parsed)
	}
	if t.Network || t.HostNetwork {
		r.networks = append(r.networks, "host")
	}
	if t.Network {
		r.ports = []portRange{{first: 1, last: 65535}}
	}
	r.allowNewPrivileges = true // which every step has, as with docker
	r.ofRunner = t.Mounts
	for _, path := range t.Mounts {
		r.mounts = append(r.mounts, hostPath{path, true})
	}
	if t.Volumes {
		r.mounts = []hostPath{{"/", true}}
	}
	r.devices = append(r.devices, t.DevicePaths...)
	if t.Devices || t.Security {
		r.devices = []string{"/dev", anyCDI}
	}
	if t.Security {
		r.privilegedImages = []image{{any: true, asItLikes: true}}
		r.capabilities = []string{"ALL"}
		r.seccomp, r.apparmor, r.unmask, r.userNamespaces = true, true, true, true
		r.noMknod, r.nosuid, r.limits = false, false, ceilings{}
	}
	return &Policy{name: "of the server's trust", rules: r}, nil
}

// ActionsVolumes is the beginning of the names of caches that are the volumes of jobs of
// GitHub Actions.
const ActionsVolumes = "github."

// Actions is for the jobs of GitHub Actions: what [Untrusted] allows, setuid programs, named volumes, which are
// caches apart from all others. The runner's own folders are added with Allowing.
// hostNetwork is for a runner that puts jobs on the host's network.
func Actions(hostNetwork bool) *Policy {
	p := Untrusted()
	if hostNetwork {
		p.rules.networks = append(p.rules.networks, "host")
	}
	p.name, p.rules.volumes = "actions", ActionsVolumes
	p.rules.allowNewPrivileges = true // which every container has, as with docker
	p.rules.ports = []portRange{{address: loopback, first: 1, last: 65535}}
	return p
}

// Allowing is the policy with folders of the host that steps may also mount, some for writing and
// some for reading: those of whoever hands out the work, which mounts them by itself.
func (p *Policy) Allowing(write, read []string) *Policy {
	if p.all {
		return p
	}
	more := *p
	more.rules.mounts = slices.Clone(p.rules.mounts)
	for _, folder := range write {
		more.rules.mounts = append(more.rules.mounts, hostPath{folder, true})
	}
	for _, folder := range read {
		more.rules.mounts = append(more.rules.mounts, hostPath{folder, false})
	}
	return &more
}

// Passing returns a policy that also passes variables, NAME=value, to privileged images that run
// as they are. Only the runner itself may have set them.
func (p *Policy) Passing(variables []string) *Policy {
	more := *p
	more.rules.passed = variables
	return &more
}

// roots are the host directories that the policy lets steps use, links resolved.
func (p *Policy) roots() ([]string, error) {
	var roots []string
	for _, m := range p.rules.mounts {
		root, err := resolve(m.path)
		if err != nil {
			return nil, err
		}
		roots = append(roots, root)
	}
	return roots, nil
}

// network is that of steps that name none: the host's where it is allowed, and otherwise a
// private one. A pipeline of another CI system has no word for it.
func (p *Policy) network() string {
	for _, preferred := range []string{"host", "private", "none"} {
		if p.all || contains(p.rules.networks, preferred) {
			return preferred
		}
	}
	return ""
}
