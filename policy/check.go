package policy

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/container"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/pull"
)

// check holds one step against the policy, and changes the step where it leaves out what
// the policy decides.
type check struct {
	*Policy
	step    *pipeline.PlannedStep
	plan    *pipeline.Plan
	origin  Origin
	image   pull.Reference // zero when it cannot be parsed
	denials Denials
}

// check returns why a step may not have what it asks for; nil admits it.
func (p *Policy) check(step *pipeline.PlannedStep, plan *pipeline.Plan, o Origin) Denials {
	c := &check{Policy: p, step: step, plan: plan, origin: o}
	c.image, _ = pull.ParseReference(step.Image) // whoever fetches it reports what is wrong
	c.localImage()
	if p.all {
		return c.denials
	}
	for _, rule := range rulesOfKeys() {
		rule.check(c)
	}
	return c.denials
}

// deny notes that rule refuses the value of a step's key.
func (c *check) deny(key, value, why, rule string) {
	c.denials = append(c.denials, c.denial(c.step.Name, key, value, why, rule))
}

func (p *Policy) denial(step, key, value, why, rule string) *Denial {
	where := fmt.Sprintf("policy %s has no %s", p.name, rule)
	if position, ok := p.at[rule]; ok {
		where = at(p.name, position) + ": " + rule
	}
	return &Denial{Step: step, Key: key, Value: value, Why: why, Rule: where}
}

// keyRule holds the keys of a step that it names against the policy.
type keyRule struct {
	keys  []string
	check func(*check)
}

// rulesOfKeys are the rules, in the order in which refusals are listed. Every key of a step
// whose trust class is not free has one.
func rulesOfKeys() []keyRule {
	return []keyRule{
		{[]string{"privileged", "ready"}, (*check).privileged},
		{[]string{"image"}, (*check).images},
		{[]string{"pull"}, (*check).pull},
		{[]string{"mounts", "volumes", "tmpfs"}, (*check).mounts},
		{[]string{"cache"}, (*check).caches},
		{[]string{"stdin"}, (*check).stdin},
		{[]string{"output"}, (*check).output},
		{[]string{"devices", "gpus"}, (*check).devices},
		{[]string{"network"}, (*check).network},
		{[]string{"egress"}, (*check).egress},
		{[]string{"extra_hosts"}, (*check).hostGateway},
		{[]string{"ports"}, (*check).ports},
		{[]string{"cap_add"}, (*check).capabilities},
		{[]string{"environment", "env_file"}, (*check).hostEnvironment},
		{[]string{"cgroup_parent"}, (*check).cgroupParent},
		{[]string{"seccomp", "apparmor", "allow_new_privileges", "unmask", "uidmap", "gidmap"}, (*check).confinement},
		{[]string{"spec", "spec_patch"}, (*check).spec},
		{[]string{"keep"}, (*check).keep},
		{[]string{"namespaces"}, (*check).namespaces},
		{[]string{"labels"}, (*check).labels},
		{[]string{"pid_file"}, (*check).pidFile},
		{limitKeys(), (*check).limits},
	}
}

const notListed = "it is not in the list"

// localImage refuses to a server's pipelines the images that are files of this machine,
// whatever the policy: rootfs:/ would be all of it, for whoever may write a pipeline.
func (c *check) localImage() {
	if c.origin.Way.isServer() && c.image.IsLocal() && c.image.Scheme != "" {
		c.deny("image", c.step.Image, "it is of the runner's machine, which no server's pipeline may use (put it into the store: stepexec load)", "images")
	}
}

func (c *check) images() {
	ref := c.image
	if ref.Scheme == "" {
		return
	}
	if ref.IsEngines() {
		if !c.origin.Way.isServer() { // reported already
			c.engine(ref)
		}
		return
	}
	if ref.IsLocal() {
		if !c.origin.Way.isServer() { // reported already
			ref.Path = c.path("image", absoluteIn(c.plan.Dir, ref.Path), false, "mounts")
			c.step.Image = ref.String()
		}
		return
	}
	matches := func(rule image) bool { return rule.matches(ref) }
	switch {
	case slices.ContainsFunc(c.rules.denyImages, matches):
		c.deny("image", c.step.Image, "it is in the list of those that are denied", "images")
	case c.rules.allowImages != nil && !slices.ContainsFunc(c.rules.allowImages, matches):
		c.deny("image", c.step.Image, "it is not in the list of those that are allowed", "images")
	}
}

// engine asks for the images of docker's daemon or of podman's storage. Whoever may reach their
// socket, or folder, has all images of the machine, private ones too.
func (c *check) engine(ref pull.Reference) {
	place, write := pull.ContainersStorage(), false
	if ref.Scheme == pull.SchemeDockerDaemon {
		place, write = pull.DockerSocket(), true
	}
	if _, err := c.hostPath("", place, write); err != nil {
		c.deny("image", c.step.Image, fmt.Sprintf("it comes from %s: %v", place, err), "mounts")
	}
}

func (c *check) pull() {
	switch {
	case c.rules.pull == "" || c.image.IsLocal():
	case c.step.Pull == "":
		c.step.Pull = pipeline.PullPolicy(c.rules.pull)
	case string(c.step.Pull) != c.rules.pull:
		c.deny("pull", string(c.step.Pull), "every image is pulled by the policy "+c.rules.pull, "pull")
	}
}

// path asks for a path of the host, and returns the one that was looked at.
func (c *check) path(key, name string, write bool, rule string) string {
	resolved, err := c.hostPath(c.plan.WorkspaceSource, name, write)
	if err != nil {
		c.deny(key, name, err.Error(), rule)
		return name
	}
	return resolved
}

// mounts replaces the sources of bind mounts by the paths that were looked at: a link that
// is put in the way later leads nowhere.
func (c *check) mounts() {
	for i := range c.step.Mounts {
		m := &c.step.Mounts[i]
		if m.Type == "bind" {
			m.Source = c.path(fmt.Sprintf("mounts[%d]", i), m.Source, !isReadOnly(*m), "mounts")
		}
		if c.rules.nosuid && c.isOfRun(m) {
			m.Options = append(slices.DeleteFunc(m.Options, func(o string) bool { return o == "suid" }), "nosuid")
		}
	}
}

// isOfRun reports whether a mount is the workspace, of what is in it, or a volume.
func (c *check) isOfRun(m *pipeline.Mount) bool {
	root, err := resolve(c.plan.WorkspaceSource)
	return m.Type == pipeline.MountVolume || m.Type == "bind" && c.plan.WorkspaceSource != "" && err == nil && isBelow(m.Source, root)
}

func isReadOnly(m pipeline.Mount) bool { return slices.Contains(m.Options, "ro") }

// caches asks for the folders of caches: what one pipeline puts there, another one runs.
func (c *check) caches() {
	for i := range c.step.Caches { // whatever is mounted of them: all are looked up
		if store := c.step.Caches[i].Store; store != "" && !c.rules.hasStore(store) {
			c.deny("cache", store, "others share the store, and stepexec uses it with its own credentials", "cache_stores")
		}
	}
	for _, m := range c.step.Mounts {
		if m.Type == pipeline.MountKeyed && !c.rules.keyedCaches {
			c.deny("cache", m.Source, "what it saves stays on the machine", "keyed_caches")
		}
		if m.Type != pipeline.MountCache {
			continue
		}
		if c.rules.volumes != "" && strings.HasPrefix(m.Source, c.rules.volumes) {
			continue
		}
		if c.origin.Caches == "" {
			c.deny("cache", m.Source, "there are no caches here", "mounts")
			continue
		}
		if _, err := c.hostPath("", path.Join(c.origin.Caches, m.Source), true); err != nil {
			c.deny("cache", m.Source, "the cache is a folder of the host that pipelines share: "+err.Error(), "mounts")
		}
	}
}

// stdin reads a file, or what stepexec itself reads, which is its caller's on the command
// line.
func (c *check) stdin() {
	switch c.step.Stdin {
	case "":
	case pipeline.StdinInherited:
		if !c.rules.stdin && c.origin.Way != Command && c.origin.Way != Shell {
			c.deny("stdin", "that of stepexec", "it belongs to whoever started stepexec", "stdin")
		}
	default:
		c.step.Stdin = c.path("stdin", c.step.Stdin, false, "mounts")
	}
}

func (c *check) output() {
	if c.step.Output != "" && c.step.Output != pipeline.OutputNone {
		c.step.Output = c.path("output", c.step.Output, true, "mounts")
	}
}

func (c *check) pidFile() {
	if file := c.step.Advanced.PidFile; file != "" {
		c.step.Advanced.PidFile = c.path("pid_file", file, true, "mounts")
	}
	if file := c.step.Advanced.IDFile; file != "" {
		c.step.Advanced.IDFile = c.path("cidfile", file, true, "mounts")
	}
}

// anyCDI in a list of devices allows every device of the Container Device Interface.
const anyCDI = "*"

func (c *check) devices() {
	for _, device := range c.step.Security.CDI {
		kind, _, _ := strings.Cut(device, "=")
		allowed := func(rule string) bool { return rule == device || rule == kind || rule == anyCDI }
		if !slices.ContainsFunc(c.rules.devices, allowed) {
			c.deny("devices", device, notListed, "devices")
		}
	}
	for _, device := range c.step.Security.Devices {
		resolved, err := resolve(device.Source)
		if err != nil {
			c.deny("devices", device.Source, err.Error(), "devices")
			continue
		}
		allowed := func(rule string) bool {
			root, err := resolve(rule)
			return path.IsAbs(rule) && err == nil && isBelow(resolved, root)
		}
		if !slices.ContainsFunc(c.rules.devices, allowed) {
			c.deny("devices", device.Source, notListed, "devices")
		}
	}
}

func (c *check) network() {
	if joined := c.step.Advanced.Namespaces["network"]; joined == "" && !contains(c.rules.networks, c.step.Network) {
		c.deny("network", c.step.Network, notListed, "networks")
	}
}

// hostGateway refuses the way to the host itself where the host's network is not allowed:
// what listens there trusts whoever reaches it.
func (c *check) hostGateway() {
	for _, host := range c.step.Names.ExtraHosts {
		if host.Address == container.HostGateway && !contains(c.rules.networks, "host") {
			c.deny("extra_hosts", host.Name+":"+host.Address, "it leads to the host itself, and the host's network is not in the list", "networks")
		}
	}
}

func (c *check) capabilities() {
	if c.rules.noMknod && !c.step.Security.Privileged {
		c.step.Security.CapDrop = append(c.step.Security.CapDrop, "MKNOD")
	}
	for _, name := range c.step.Security.CapAdd {
		plain := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
		switch {
		case c.rules.noMknod && (plain == "MKNOD" || plain == "ALL"):
			c.deny("cap_add", name, "steps cannot make device nodes", "no_mknod")
		case !contains(c.rules.capabilities, plain) && !contains(c.rules.capabilities, "ALL"):
			c.deny("cap_add", name, notListed, "capabilities")
		}
	}
}

// hostEnvironment asks for the variables that the file takes from stepexec's own. They are
// those of all steps: which step gets which is not told apart.
func (c *check) hostEnvironment() {
	for _, name := range c.plan.HostEnvironment {
		if !contains(c.rules.hostEnvironment, name) {
			c.deny("environment", name, "its value would be stepexec's own", "host_environment")
		}
	}
}

func (c *check) cgroupParent() {
	parent := c.step.Advanced.CgroupParent
	below := func(allowed string) bool { return isBelow(path.Clean(parent), allowed) }
	if parent != "" && !slices.ContainsFunc(c.rules.cgroupParents, below) {
		c.deny("cgroup_parent", parent, "it is below none of the paths there", "cgroup_parents")
	}
}

// confinement is what keeps a step from the kernel and from other users' files.
func (c *check) confinement() {
	s := &c.step.Security
	if s.Seccomp != "" && s.Seccomp != "default" {
		if !c.rules.seccomp {
			c.deny("seccomp", s.Seccomp, "only the default profile is allowed", "seccomp")
		} else if s.Seccomp != "unconfined" {
			s.Seccomp = c.path("seccomp", s.Seccomp, false, "mounts")
		}
	}
	if s.AppArmor != "" && !c.rules.apparmor {
		c.deny("apparmor", s.AppArmor, "only the default profile is allowed", "apparmor")
	}
	if s.AllowNewPrivileges && !c.rules.allowNewPrivileges {
		c.deny("allow_new_privileges", "true", "setuid programs could gain more than the step has", "allow_new_privileges")
	}
	if s.Unmask && !c.rules.unmask {
		c.deny("unmask", "true", "the hidden files of /proc and /sys tell of the host, and change its settings", "unmask")
	}
	for key, maps := range map[string][]pipeline.IDMap{"uidmap": s.UIDMap, "gidmap": s.GIDMap} {
		if len(maps) > 0 && !c.rules.userNamespaces {
			c.deny(key, fmt.Sprintf("%d:%d:%d", maps[0].Container, maps[0].Host, maps[0].Size), "the ids can be those of other users of the host", "user_namespaces")
		}
	}
}

func (c *check) spec() {
	if a := &c.step.Advanced; a.Spec != nil && !c.rules.spec {
		c.deny("spec", "a raw OCI spec", "it could ask for anything", "spec")
	} else if a.SpecPatch != nil && !c.rules.spec {
		c.deny("spec_patch", "a patch of the OCI spec", "it could ask for anything", "spec")
	}
}

func (c *check) keep() {
	if c.step.Keep && !c.rules.keep {
		c.deny("keep", "true", "what it leaves would stay on the machine", "keep")
	}
}

func (c *check) namespaces() {
	if c.rules.namespaces {
		return
	}
	for _, kind := range slices.Sorted(maps.Keys(c.step.Advanced.Namespaces)) {
		path := c.step.Advanced.Namespaces[kind]
		if strings.HasPrefix(path, "/proc/self/ns/") { // this process is on the host
			path = "host"
		}
		c.deny("namespaces", kind+": "+path, "it belongs to other processes", "namespaces")
	}
}

// runtimeLabels are the prefixes of annotations that runtimes take for orders: Kata and
// gVisor choose devices, debug ports and kernels by them, CRIU what it restores.
var runtimeLabels = []string{"io.katacontainers.", "dev.gvisor.", "org.criu.", "io.containerd.", "io.kubernetes.cri", "com.docker.", "run.oci.", "org.systemd."}

func (c *check) labels() {
	for name, value := range c.step.Advanced.Labels {
		reserved := func(prefix string) bool { return strings.HasPrefix(strings.ToLower(name), prefix) }
		allowed := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
		if slices.ContainsFunc(runtimeLabels, reserved) && !slices.ContainsFunc(c.rules.labels, allowed) {
			c.deny("labels", name+"="+value, "the runtime may take it for an order", "labels")
		}
	}
}
