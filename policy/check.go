package policy

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Request is what a step asks for, defaults filled in.
type Request struct {
	Step      string
	Image     string // a reference
	Workspace string // the host's directory that the step may use in any case; "": none

	Privileged         bool
	Overrides          []string // keys by which the step changes what its image runs: commands, entrypoint, args, environment, mounts, ...
	Network            string   // host, none or private
	Paths              []Path
	Devices            []string // paths on the host, and names of CDI devices
	CapAdd             []string
	Seccomp            string // "" or "default": the default profile
	AppArmor           string // "": the default
	AllowNewPrivileges bool
	Spec               bool     // a raw OCI spec, or a patch of the generated one
	Namespaces         []string // paths of namespaces to join
	CgroupParent       string   // "": the default
	Keep               bool     // its files stay on the machine after the run
	HostEnvironment    []string // variables whose values are taken from stepexec's own environment
}

// Path is a path of the host that a step uses: the source of a mount, the
// directory of an image like rootfs:DIR, an env_file, the file of a seccomp
// profile, a file that stepexec writes for it.
type Path struct {
	Key   string // of the step, for messages, such as mounts[0]
	Path  string // absolute
	Write bool
}

// Check returns nil when a step may have all that it asks for, and else
// Denials.
func (p *Policy) Check(r Request) error {
	if p.all {
		return nil
	}
	c := &check{policy: p, step: r.Step}
	c.privileged(r)
	c.paths(r)
	c.devices(r)
	c.names(r)
	c.flags(r)
	if len(c.denials) > 0 {
		return c.denials
	}
	return nil
}

type check struct {
	policy  *Policy
	step    string
	denials Denials
}

// deny notes that rule refuses the value of a step's key.
func (c *check) deny(key, value, why, rule string) {
	where := fmt.Sprintf("policy %s has no %s", c.policy.name, rule)
	if p, ok := c.policy.at[rule]; ok {
		where = at(c.policy.name, p) + ": " + rule
	}
	c.denials = append(c.denials, &Denial{Step: c.step, Key: key, Value: value, Why: why, Rule: where})
}

const notListed = "it is not in the list"

// privileged lets listed images be privileged as they are: one that runs the
// step's own commands, or with the step's own variables or files, is whatever
// the pipeline's author makes of it, as root of the host.
func (c *check) privileged(r Request) {
	if !r.Privileged {
		return
	}
	matches := func(pattern string) bool { return matchesImage(pattern, r.Image) }
	if !slices.ContainsFunc(c.policy.rules.privilegedImages, matches) {
		c.deny("privileged", "image "+r.Image, "it is not an image that may be privileged", "privileged_images")
		return
	}
	for _, key := range r.Overrides {
		c.deny(key, "with privileged", "a privileged image runs as it is", "privileged_images")
	}
}

func (c *check) paths(r Request) {
	for _, use := range r.Paths {
		if _, err := c.policy.HostPath(r.Workspace, use.Path, use.Write); err != nil {
			c.deny(use.Key, use.Path, err.Error(), "mounts")
		}
	}
}

func (c *check) devices(r Request) {
	for _, device := range r.Devices {
		allowed := func(rule string) bool {
			kind, _, _ := strings.Cut(device, "=")
			return rule == device || rule == kind
		}
		if path.IsAbs(device) {
			resolved, err := resolve(device)
			if err != nil {
				c.deny("devices", device, err.Error(), "devices")
				continue
			}
			allowed = func(rule string) bool {
				root, err := resolve(rule)
				return err == nil && path.IsAbs(rule) && isBelow(resolved, root)
			}
		}
		if !slices.ContainsFunc(c.policy.rules.devices, allowed) {
			c.deny("devices", device, notListed, "devices")
		}
	}
}

// names checks what is allowed by lists of names.
func (c *check) names(r Request) {
	rules := c.policy.rules
	if !slices.Contains(rules.networks, r.Network) {
		c.deny("network", r.Network, notListed, "networks")
	}
	for _, name := range r.CapAdd {
		plain := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
		if !slices.Contains(rules.capabilities, plain) && !slices.Contains(rules.capabilities, "ALL") {
			c.deny("cap_add", name, notListed, "capabilities")
		}
	}
	for _, name := range r.HostEnvironment {
		if !slices.Contains(rules.hostEnvironment, name) {
			c.deny("environment", name, "its value would be stepexec's own", "host_environment")
		}
	}
	below := func(parent string) bool {
		return isBelow(path.Clean(r.CgroupParent), parent)
	}
	if r.CgroupParent != "" && !slices.ContainsFunc(rules.cgroupParents, below) {
		c.deny("cgroup_parent", r.CgroupParent, "it is below none of the paths there", "cgroup_parents")
	}
}

// flags checks what is allowed or not as a whole.
func (c *check) flags(r Request) {
	rules := c.policy.rules
	if r.Seccomp != "" && r.Seccomp != "default" && !rules.seccomp {
		c.deny("seccomp", r.Seccomp, "only the default profile is", "seccomp")
	}
	if r.AppArmor != "" && !rules.apparmor {
		c.deny("apparmor", r.AppArmor, "only the default is", "apparmor")
	}
	if r.AllowNewPrivileges && !rules.allowNewPrivileges {
		c.deny("allow_new_privileges", "true", "setuid programs could gain more than the step has", "allow_new_privileges")
	}
	if r.Spec && !rules.spec {
		c.deny("spec", "a raw OCI spec", "it could ask for anything", "spec")
	}
	if r.Keep && !rules.keep {
		c.deny("keep", "true", "what it leaves would stay on the machine", "keep")
	}
	for _, path := range r.Namespaces {
		if !rules.namespaces {
			c.deny("namespaces", path, "it belongs to other processes", "namespaces")
		}
	}
}
