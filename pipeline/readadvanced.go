package pipeline

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"
)

func (p *parser) advancedTogether(v value, s *Step) {
	if _, given := v.get("spec"); given {
		for _, pair := range v.pairs {
			if !isBesideSpec(pair.name) {
				p.misplaced(v.field(pair), "has no effect beside a raw specification", "that is used as it is; remove one of the two, or use spec_patch alone")
			}
		}
	}
	namespaces, joins := v.get("namespaces")
	if joins && s.Advanced.Namespaces["network"] != "" && s.Network != "" {
		p.misplaced(namespaces, "joins a network, and network names another", "remove one of the two")
	}
	if tty, given := v.get("tty"); given && s.Advanced.TTY && s.Stdin != "" && s.Stdin != StdinInherited {
		p.misplaced(tty, "cannot be combined with a file as stdin", "a terminal is the input, too")
	}
}

// output reads none, or file: and a path.
// minOutput is the least that a step's output can be limited to.
const minOutput = 4 << 10

func (p *parser) outputLimit(v value) int64 {
	if v.kind != textKind && v.kind != numberKind {
		p.wrongType(v, "a size")
		return 0
	}
	if !memoryForm().MatchString(v.text) {
		p.wrong(v, fmt.Sprintf("%q is not a size", v.text), "write it like 100MiB, 1g or a number of bytes")
		return 0
	}
	bytes, err := units.RAMInBytes(v.text)
	if err != nil || bytes < minOutput || bytes > 1<<60 {
		p.wrong(v, fmt.Sprintf("%q of output is out of range", v.text), "the least is 4KiB; without the key the limit is the machine's")
		return 0
	}
	return bytes
}

func (p *parser) output(v value) string {
	text := p.line(v)
	if text == "" || text == OutputNone {
		return text
	}
	file, isFile := strings.CutPrefix(text, "file:")
	if !isFile || file == "" {
		p.wrong(v, fmt.Sprintf("must be none or file:PATH, not %q", text), "")
		return ""
	}
	if strings.HasPrefix(file, "//") { // a URL, as ctr takes it
		file = "/" + strings.TrimLeft(file, "/")
	}
	return file
}

var ownerForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9]{1,10}:[0-9]{1,10}$`) })

// owner reads uid:gid, or me: who owns the workspace.
func (p *parser) owner(v value) *Owner {
	text := p.word(v)
	if text == "me" {
		return &Owner{Workspace: true}
	}
	if text == "" {
		return nil
	}
	uid, gid, _ := strings.Cut(text, ":")
	u, uidErr := strconv.ParseUint(uid, 10, 32)
	g, gidErr := strconv.ParseUint(gid, 10, 32)
	if !ownerForm().MatchString(text) || uidErr != nil || gidErr != nil {
		p.wrong(v, fmt.Sprintf("%q is not an owner", text), "write numbers like 1000:1000, or me for the owner of the workspace")
		return nil
	}
	return &Owner{UID: uint32(u), GID: uint32(g)}
}

func (p *parser) specPatch(v value) []byte {
	if v.kind != mapKind {
		p.wrongType(v, "a map")
		return nil
	}
	patch := p.setting(v, true)
	return []byte(patch.json(func(v Value, at Position) string {
		if v.FromSecret != "" {
			p.wrongAt(at, "a secret cannot be part of a specification", "use secrets")
		}
		return v.Text
	}))
}

// namespaceTypes are those of the OCI runtime specification.
var namespaceTypes = []string{"network", "ipc", "pid", "uts", "mount", "user", "cgroup"}

// hostNamespaces are those of namespaceTypes that a step may share with the host by that word. For
// the network there is a key of its own; with the host's mounts or users it would be no container.
var hostNamespaces = []string{"ipc", "pid", "uts", "cgroup"}

func (p *parser) namespaces(v value) map[string]string {
	if v.kind != mapKind {
		p.wrongType(v, "a map")
		return nil
	}
	joined := map[string]string{}
	for _, pair := range v.pairs {
		field := v.field(pair)
		if !slices.Contains(namespaceTypes, pair.name) {
			p.misplaced(field, "unknown type of namespace", "it is "+quotedList(namespaceTypes))
			continue
		}
		switch isShared := slices.Contains(hostNamespaces, pair.name); {
		case isShared && field.text == "private": // as without it
		case isShared && field.text == "host":
			joined[pair.name] = "/proc/self/ns/" + pair.name
		default:
			joined[pair.name] = p.absolute(field, "write it like /proc/1234/ns/net")
		}
	}
	return joined
}

func (p *parser) absolute(v value, hint string) string {
	text := p.line(v)
	if text != "" && !path.IsAbs(text) {
		p.wrong(v, fmt.Sprintf("%q is not an absolute path", text), hint)
		return ""
	}
	return text
}

func (p *parser) labels(v value) map[string]string {
	if v.kind != mapKind {
		p.wrongType(v, "a map")
		return nil
	}
	labels := map[string]string{}
	for _, pair := range v.pairs {
		field := v.field(pair)
		if pair.name == "" {
			p.misplaced(field, "the name of a label must not be empty", "")
		}
		if isRuntimeLabel(pair.name) {
			p.misplaced(field, "the runtime obeys labels of this name", "choose another name")
		}
		labels[pair.name] = p.scalar(field)
	}
	return labels
}

// stopSignal reads a signal's name, with or without SIG, or its number.
func (p *parser) stopSignal(v value) string {
	text := p.scalar(v)
	name := "SIG" + strings.TrimPrefix(strings.ToUpper(text), "SIG")
	if number, err := strconv.Atoi(text); v.scalar() && unix.SignalNum(name) == 0 && (err != nil || number < 1 || number > maxSignal) {
		p.wrong(v, fmt.Sprintf("%q is not a signal", text), "write a name like SIGINT or a number, see signal(7)")
		return ""
	}
	return text
}

// maxSignal is the number of Linux's last signal, SIGRTMAX.
const maxSignal = 64

// isRuntimeLabel knows the annotations that are more than a note: runc gives org.systemd.property.* to
// systemd, and crun obeys run.oci.*, with which a step could name hooks and seccomp programs.
func isRuntimeLabel(name string) bool {
	return strings.HasPrefix(name, "org.systemd.property.") || strings.HasPrefix(name, "run.oci.")
}

// cgroupParent reads an absolute path below the root of the hierarchy, or a
// systemd slice.
func (p *parser) cgroupParent(v value) string {
	text := p.line(v)
	switch {
	case text == "":
		return ""
	case slices.Contains(strings.Split(text, "/"), ".."):
		p.wrong(v, "must not contain ..", "")
	case !path.IsAbs(text) && !(strings.HasSuffix(text, ".slice") && !strings.Contains(text, "/")):
		p.wrong(v, fmt.Sprintf("%q is not the path of a cgroup", text), "write it like /ci, or ci.slice with the systemd driver")
	default:
		return text
	}
	return ""
}
