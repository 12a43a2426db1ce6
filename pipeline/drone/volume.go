package drone

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/stepexec/stepexec/pipeline"
)

// volume is one of a pipeline: a folder of the host, one of the run, or memory.
type volume struct {
	host   string // its path; "": of the run
	name   string // of the run's folder
	memory bool
	size   int64 // of memory; 0: half of the machine's
}

// reserved are names of volumes that are the runner's own.
var reserved = []string{"workspace", "_workspace", "_docker_socket"}

var volumeName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$`) })

func (t *translation) readVolumes(n pipeline.Node) {
	if n.Kind() != "list" {
		t.WrongType(n, "a list")
		return
	}
	for _, item := range n.Items() {
		name, v := "", volume{}
		places := 0
		t.object(item, fields{
			"name": func(n pipeline.Node) { name = t.Text(n) },
			"temp": func(n pipeline.Node) { places++; t.readTemp(n, &v) },
			"host": func(n pipeline.Node) { places++; t.readHost(n, &v) },
		}, "claim", "config_map", "secret", "downward_api")
		switch {
		case name == "":
			t.Missing(item, "name")
			continue
		case slices.Contains(reserved, name):
			t.Wrong(item, fmt.Sprintf("linter: invalid volume name: %s", name), "the runner uses it itself")
			continue
		case t.volumes[name] != volume{}:
			t.Wrong(item, fmt.Sprintf("there is a volume %q already", name), "")
			continue
		case places != 1: // a claim of Kubernetes', perhaps: an error for the steps that mount it
			t.warn(item, fmt.Sprintf("the volume %q is neither of the host nor temporary", name), "write host: {path: …} or temp: {}")
			t.unusable[name] = true
			continue
		}
		if v.host == "" && !v.memory {
			v.name = name
			if !volumeName().MatchString(name) {
				v.name = fmt.Sprintf("volume-%d", len(t.volumes)+1)
			}
			t.out.Volumes = append(t.out.Volumes, v.name)
		}
		t.volumes[name] = v
	}
}

func (t *translation) readTemp(n pipeline.Node, v *volume) {
	t.object(n, fields{
		"medium": func(n pipeline.Node) {
			if v.memory = t.Text(n) == "memory"; v.memory {
				t.untrusted(n, "mount in-memory volumes")
			}
		},
		"size_limit": func(n pipeline.Node) { v.size = t.size(n) },
	})
}

func (t *translation) readHost(n pipeline.Node, v *volume) {
	t.untrusted(n, "mount host volumes")
	t.object(n, fields{"path": func(n pipeline.Node) {
		if v.host = t.Text(n); v.host != "" && !path.IsAbs(v.host) {
			t.Wrong(n, fmt.Sprintf("%q is not an absolute path", v.host), "")
		}
	}})
	if v.host == "" {
		t.Missing(n, "path")
	}
}

// cgroups is where containers have their own control groups. Steps with a docker of their own
// mount the host's there, which no container may see; their own serve them as well.
const cgroups = "/sys/fs/cgroup"

// mounts reads the volumes of a step.
func (t *translation) mounts(n pipeline.Node) []pipeline.Mount {
	if n.Kind() != "list" {
		t.WrongType(n, "a list")
		return nil
	}
	var mounts []pipeline.Mount
	for _, item := range n.Items() {
		name, target := "", ""
		readOnly := false
		t.object(item, fields{
			"name":      func(n pipeline.Node) { name = t.Text(n) },
			"path":      func(n pipeline.Node) { target = t.Text(n) },
			"read_only": func(n pipeline.Node) { readOnly = t.flag(n) },
		})
		v, known := t.volumes[name]
		switch {
		case slices.Contains(reserved, name):
			t.Wrong(item, fmt.Sprintf("linter: invalid volume name: %s", name), "the runner uses it itself")
		case target == "":
			t.Missing(item, "path")
		case target == "/run/drone" || strings.HasPrefix(target, "/run/drone/"):
			t.Wrong(item, fmt.Sprintf("linter: cannot mount volume at restricted path %s", target), "")
		case t.unusable[name]:
			t.Wrong(item, fmt.Sprintf("the volume %q is neither of the host nor temporary", name), "write host: {path: …} or temp: {} under volumes")
		case v.host == cgroups && path.Clean(target) == cgroups: // it has its own there
		case !known:
			t.Wrong(item, fmt.Sprintf("the pipeline has no volume %q", name), "declare it under volumes")
		default:
			if m, err := v.mount(target, readOnly); err != nil {
				t.Report(item, err)
			} else {
				mounts = append(mounts, m)
			}
		}
	}
	return mounts
}

func (v volume) mount(target string, readOnly bool) (pipeline.Mount, error) {
	mode := "rw"
	if readOnly {
		mode = "ro"
	}
	options := "options=" + mode
	switch {
	case v.memory:
		options += ":mode=0700"
		if v.size > 0 {
			options += fmt.Sprintf(":size=%d", v.size)
		}
		return pipeline.ParseMount("type=tmpfs," + quoted("dst="+target) + "," + options)
	case v.host != "":
		m, err := pipeline.ParseMount("type=bind," + quoted("src="+v.host) + "," + quoted("dst="+target) + "," + options)
		m.Create = true // docker makes what is missing
		return m, err
	}
	m, err := pipeline.ParseMount("type=bind,src=x," + quoted("dst="+target) + "," + options)
	m.Type, m.Source = pipeline.MountVolume, v.name
	return m, err
}

// quoted is a field of CSV.
func quoted(text string) string { return `"` + strings.ReplaceAll(text, `"`, `""`) + `"` }

// devices reads those of a step: names of host volumes below /dev.
func (t *translation) devices(n pipeline.Node) []pipeline.Device {
	t.untrusted(n, "mount devices")
	if n.Kind() != "list" {
		t.WrongType(n, "a list")
		return nil
	}
	var devices []pipeline.Device
	for _, item := range n.Items() {
		name, target := "", ""
		t.object(item, fields{
			"name": func(n pipeline.Node) { name = t.Text(n) },
			"path": func(n pipeline.Node) { target = t.Text(n) },
		})
		v, known := t.volumes[name]
		if !known || !strings.HasPrefix(v.host, "/dev/") {
			t.Wrong(item, fmt.Sprintf("%q is not a host volume below /dev", name), "declare one under volumes, with host: {path: /dev/…}")
			continue
		}
		if target == "" {
			target = v.host
		}
		devices = append(devices, pipeline.Device{Source: v.host, Destination: target, Permissions: "rwm"})
	}
	return devices
}
