package pipeline

import (
	"encoding/csv"
	"fmt"
	"path"
	"slices"
	"strings"
)

// ParseMount reads a mount in the form that ctr and docker take on the command
// line: type=bind,src=/etc,dst=/host-etc,options=rbind:ro. The type is bind when
// not given; readonly stands for the option ro. The error is an [Error] without
// position.
func ParseMount(text string) (Mount, error) {
	reader := csv.NewReader(strings.NewReader(text))
	parts, err := reader.Read()
	if err != nil {
		return Mount{}, &Error{Message: fmt.Sprintf("%q is not a mount: its quotes do not match", text), Hint: mountHint}
	}
	if rest, _ := reader.Read(); rest != nil {
		return Mount{}, &Error{Message: fmt.Sprintf("%q is not a mount: it has more than one line", text), Hint: mountHint}
	}
	var m Mount
	given := map[string]bool{}
	for _, part := range parts {
		key, val, _ := strings.Cut(part, "=")
		kind, known := mountKeys[key]
		if !known {
			return Mount{}, &Error{Message: fmt.Sprintf("unknown part %q of a mount", key), Hint: didYouMean(key, mountKeyNames)}
		}
		if given[kind] {
			return Mount{}, &Error{Message: fmt.Sprintf("the %s is given twice", kind)}
		}
		given[kind] = true
		if err := setMount(&m, kind, val); err != nil {
			return Mount{}, err
		}
	}
	return checkedMount(m)
}

const mountHint = "write it like type=bind,src=/etc,dst=/host-etc,options=rbind:ro"

// mountKeys are the spellings that ctr and docker have for the parts of a mount.
var (
	mountKeys = map[string]string{
		"type":   "type",
		"source": "source", "src": "source",
		"destination": "destination", "dst": "destination", "target": "destination",
		"options":  "options",
		"readonly": "readonly", "ro": "readonly",
		"tmpfs-size": "tmpfs-size", "tmpfs-mode": "tmpfs-mode",
		"bind-propagation": "bind-propagation", "bind-nonrecursive": "bind-nonrecursive",
		"consistency": "consistency", "relabel": "relabel", "volume-nocopy": "volume-nocopy",
	}
	mountKeyNames = []string{"type", "source", "src", "destination", "dst", "target", "options", "readonly", "ro", "tmpfs-size", "tmpfs-mode", "bind-propagation", "bind-nonrecursive"}
)

func setMount(m *Mount, part, text string) error {
	switch part {
	case "type":
		m.Type = text
	case "source":
		m.Source = text
	case "destination":
		m.Destination = text
	case "options":
		m.Options = append(m.Options, splitOptions(text)...)
	case "readonly":
		return setMountSwitch(m, part, text, "ro")
	case "bind-nonrecursive":
		return setMountSwitch(m, part, text, "bind")
	case "tmpfs-size":
		m.Options = append(m.Options, "size="+text)
	case "tmpfs-mode":
		m.Options = append(m.Options, "mode="+text)
	case "bind-propagation":
		m.Options = append(m.Options, text)
	case "consistency", "relabel", "volume-nocopy": // of Docker Desktop, of SELinux, and what volumes of a step do not do
	}
	return nil
}

// setMountSwitch adds an option that a part of a mount turns on.
func setMountSwitch(m *Mount, part, text, option string) error {
	switch text {
	case "", "true", "1":
		m.Options = append(m.Options, option)
	case "false", "0":
	default:
		return &Error{Message: fmt.Sprintf("%s must be true or false, not %q", part, text)}
	}
	return nil
}

func splitOptions(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ':' })
}

// ParseVolume reads a bind mount in docker's short form: src:dst, and then options between
// commas behind another colon. A path alone is a volume of the step's own. The error is an [Error] without position.
func ParseVolume(text string) (Mount, error) {
	parts := strings.Split(text, ":")
	if len(parts) == 1 && path.IsAbs(text) {
		return checkedMount(Mount{Type: MountVolume, Destination: text})
	}
	if len(parts) != 2 && len(parts) != 3 {
		return Mount{}, &Error{Message: fmt.Sprintf("%q is not a volume", text), Hint: "write it like /etc:/host-etc or /etc:/host-etc:ro"}
	}
	m := Mount{Type: "bind", Source: parts[0], Destination: parts[1]}
	if len(parts) == 3 {
		for mode := range strings.SplitSeq(parts[2], ",") {
			switch {
			case slices.Contains(volumeModes, mode):
				m.Options = append(m.Options, mode)
			case slices.Contains(modesWithoutEffect, mode):
			default:
				return Mount{}, &Error{
					Message: fmt.Sprintf("unknown option %q of a volume", mode),
					Hint:    fmt.Sprintf("there are %s; z, Z, cached, delegated, consistent and nocopy have no effect", quotedList(volumeModes)),
				}
			}
		}
	}
	return checkedMount(m)
}

var (
	volumeModes = []string{"ro", "rw", "rshared", "shared", "rslave", "slave", "rprivate", "private", "nosuid", "nodev", "noexec"}
	// modesWithoutEffect are about SELinux, which labels nothing here, about the virtual machine
	// of Docker Desktop, and about volumes that an image fills.
	modesWithoutEffect = []string{"z", "Z", "cached", "delegated", "consistent", "nocopy"}
)

// checkedMount returns the mount with its defaults filled in. It returns an error for a
// mount that is not valid.
func checkedMount(m Mount) (Mount, error) {
	if m.Type == "" {
		m.Type = "bind"
	}
	if strings.ContainsRune(m.Source+m.Destination, 0) {
		return Mount{}, &Error{Message: "a path must not contain a NUL byte"}
	}
	if err := checkMountSource(m); err != nil {
		return Mount{}, err
	}
	if err := checkDestination(m.Destination); err != nil {
		return Mount{}, err
	}
	if err := checkOptions(m.Type, m.Options); err != nil {
		return Mount{}, err
	}
	m.Destination = path.Clean(m.Destination)
	if m.Type == "tmpfs" {
		m.Source = "tmpfs"
		return m, nil
	}
	if !slices.Contains(m.Options, "bind") && !slices.Contains(m.Options, "rbind") {
		m.Options = append([]string{"rbind"}, m.Options...)
	}
	if !slices.Contains(m.Options, "ro") && !slices.Contains(m.Options, "rw") {
		m.Options = append(m.Options, "rw")
	}
	return m, nil
}

func checkMountSource(m Mount) error {
	switch {
	case m.Type == "tmpfs" && m.Source != "" && m.Source != "tmpfs":
		return &Error{Message: "a tmpfs has no source", Hint: "remove it, or use type bind"}
	case m.Type == "tmpfs" && m.Create:
		return &Error{Message: "a tmpfs has no source to create", Hint: "remove create"}
	case m.Type == "tmpfs":
		return nil
	case m.Type == MountVolume && m.Source == "" && !m.Create:
		return nil
	case m.Type == MountVolume:
		return &Error{Message: "a volume in this form has no name", Hint: "write volumes: [NAME:PATH] and NAME in the volumes of the pipeline, or cache: [NAME:PATH]; with stepexec step, -v NAME:PATH"}
	case m.Type != "bind":
		return &Error{Message: fmt.Sprintf("the type of a mount must be bind, tmpfs or volume, not %q", m.Type), Hint: didYouMean(m.Type, []string{"bind", "tmpfs", MountVolume})}
	case m.Source == "":
		return &Error{Message: "the mount has no source", Hint: mountHint}
	case m.Source == "~" || strings.HasPrefix(m.Source, "~/"):
		return &Error{Message: fmt.Sprintf("the source %q is not expanded", m.Source), Hint: "write the whole path in place of ~"}
	}
	return nil
}

// checkDestination refuses the places in a container that must not be hidden.
func checkDestination(text string) error {
	clean := path.Clean(text)
	switch {
	case text == "":
		return &Error{Message: "the mount has no destination", Hint: mountHint}
	case !path.IsAbs(text):
		return &Error{Message: fmt.Sprintf("the path %q in the container is not absolute", text), Hint: "begin it with /"}
	case clean == "/":
		return &Error{Message: "nothing can be mounted at / of the container", Hint: "use image: rootfs:DIR to run in a directory"}
	case isBelow(clean, "/proc"), isBelow(clean, "/sys"):
		// A fake /proc/self/attr or /proc/sys makes the runtime write its own
		// security settings into the attacker's file (CVE-2019-16884,
		// CVE-2025-52881); a real one from outside is the host's.
		return &Error{Message: fmt.Sprintf("nothing can be mounted at %q: /proc and /sys belong to the kernel", text)}
	case isBelow(clean, "/run/secrets"):
		return &Error{Message: fmt.Sprintf("nothing can be mounted at %q: the secrets of the step are there", text), Hint: "use secrets"}
	}
	return nil
}

// checkFolderDestination is checkDestination for a folder of stepexec's own, such as a cache.
func checkFolderDestination(text string) error {
	if path.Clean(text) == "/dev" {
		return &Error{Message: "a folder at /dev would hide the devices, without which nothing starts", Hint: "mount it elsewhere, or below /dev"}
	}
	return checkDestination(text)
}

// isBelow tells whether a clean path is dir or inside it.
func isBelow(clean, dir string) bool {
	return clean == dir || strings.HasPrefix(clean, dir+"/")
}
