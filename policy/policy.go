package policy

// Policy is what pipelines may ask for. The zero value allows nothing of the
// host, and no network.
type Policy struct {
	name  string // of the file, or of the built-in policy, for messages
	all   bool
	rules rules
	at    map[string]position // where in the file a key is
}

// rules are the keys of a policy file. One that is left out allows nothing.
type rules struct {
	mounts             []hostPath // mounts
	privilegedImages   []string   // privileged_images
	networks           []string   // networks
	devices            []string   // devices: paths of the host, kinds and names of CDI devices
	capabilities       []string   // capabilities, without CAP_
	hostEnvironment    []string   // host_environment
	cgroupParents      []string   // cgroup_parents
	seccomp            bool       // seccomp: another profile than the default, or none
	apparmor           bool       // apparmor: another profile than the default, or none
	allowNewPrivileges bool       // allow_new_privileges
	spec               bool       // spec: a raw OCI spec, or a patch of the generated one
	keep               bool       // keep: root file systems that stay after the run
	namespaces         bool       // namespaces: joining those of other processes
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
// is not trusted: a network apart from the host's, and nothing of the host.
func Untrusted() *Policy {
	return &Policy{name: "untrusted", rules: rules{networks: []string{"none", "private"}}}
}

// Roots are the host directories that the policy lets steps use, links
// resolved. A mount of what is below one of them must not lead out of it at the
// moment when it is made, whatever has changed since Check. It is nil for a
// policy that allows everything.
func (p *Policy) Roots() ([]string, error) {
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
