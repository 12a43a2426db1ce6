package pipeline_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stepexec/stepexec/pipeline"
)

func TestFlagsMeanWhatTheFileMeans(t *testing.T) {
	const file = `
steps:
  - name: a
    image: x
    user: 1000
    memory: 512m
    cpus: 1.5
    pids: 100
    privileged: true
    cap_drop: [ALL]
    ulimits: {nofile: "1:2", core: "0"}
    labels: {a: b=c}
    extra_hosts: ["db:192.0.2.7"]
    volumes: ["/a:/b:ro"]
    network: private
    ports: ["8080:80"]
    devices: [/dev/fuse, vendor.com/net=nic0]
    uidmap: ["0:1:2"]
    gidmap: ["0:3:4"]
    namespaces: {ipc: /proc/1/ns/ipc}
    args: [ls, -l]
`
	got, err := pipeline.ParseStep([]pipeline.Flag{
		{Name: "--name", Key: "name", Value: "a"}, {Name: "IMAGE", Key: "image", Value: "x"},
		{Name: "--user", Key: "user", Value: "1000"}, {Name: "-m", Key: "memory", Value: "512m"},
		{Name: "--cpus", Key: "cpus", Value: pipeline.Number("1.5")}, {Name: "--pids", Key: "pids", Value: pipeline.Number("100")},
		{Name: "--privileged", Key: "privileged", Value: true}, {Name: "--cap-drop", Key: "cap_drop", Value: []string{"ALL"}},
		{Name: "--ulimit", Key: "ulimits", Value: []pipeline.Pair{{"nofile", "7"}, {"nofile", "1:2"}, {"core", "0"}}},
		{Name: "--label", Key: "labels", Value: []pipeline.Pair{{"a", "b=c"}}},
		{Name: "--add-host", Key: "extra_hosts", Value: []string{"db:192.0.2.7"}},
		{Name: "--volume", Key: "volumes", Value: []string{"/a:/b:ro"}},
		{Name: "--network", Key: "network", Value: "private"}, {Name: "--publish", Key: "ports", Value: []string{"8080:80"}},
		{Name: "--device", Key: "devices", Value: []string{"/dev/fuse", "vendor.com/net=nic0"}},
		{Name: "--uidmap", Key: "uidmap", Value: []string{"0:1:2"}}, {Name: "--gidmap", Key: "gidmap", Value: []string{"0:3:4"}},
		{Name: "--with-ns", Key: "namespaces", Value: []pipeline.Pair{{"ipc", "/proc/1/ns/ipc"}}},
		{Name: "COMMAND", Key: "args", Value: []string{"ls", "-l"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := parse(t, file).Steps[0]
	options := cmp.Options{cmpopts.IgnoreTypes(pipeline.Position{}), cmpopts.IgnoreUnexported(pipeline.Step{})}
	if diff := cmp.Diff(want, *got, options); diff != "" {
		t.Error(diff)
	}
}

func TestErrorsOfFlagsNameTheFlag(t *testing.T) {
	for _, test := range []struct {
		flag pipeline.Flag
		want string
	}{
		{pipeline.Flag{Name: "--memory", Key: "memory", Value: "512"}, `--memory: "512" is too little memory (the least is 6MiB; a bare number is bytes)`},
		{pipeline.Flag{Name: "--cpus", Key: "cpus", Value: pipeline.Number("two")}, "--cpus: two is not a number of CPUs (write it like 2 or 0.5; the least is 0.01)"},
		{pipeline.Flag{Name: "--mount", Key: "mounts", Value: []string{"dst=/a"}}, "--mount: the mount has no source (write it like type=bind,src=/etc,dst=/host-etc,options=rbind:ro)"},
		{pipeline.Flag{Name: "-v", Key: "volumes", Value: []string{"/a:/x", "/b:/x"}}, "-v: /x is already mounted"},
		{pipeline.Flag{Name: "--ulimit", Key: "ulimits", Value: []pipeline.Pair{{"nofile", "many"}}}, `--ulimit.nofile: "many" is not a limit (write a whole number, or unlimited)`},
		{pipeline.Flag{Name: "--publish", Key: "ports", Value: []string{"80"}}, "--publish: needs network: private (on the host's network every port is already the host's)"},
	} {
		_, err := pipeline.ParseStep([]pipeline.Flag{{Name: "--name", Key: "name", Value: "a"}, {Name: "IMAGE", Key: "image", Value: "x"}, test.flag})
		if err == nil || err.Error() != test.want {
			t.Errorf("got %v\nwant %s", err, test.want)
		}
	}
}

// FuzzFlags: whatever a flag holds, ParseStep neither panics nor lets a line end
// into /etc/hosts or /etc/resolv.conf, nor a device out of /dev.
func FuzzFlags(f *testing.F) {
	keys := []string{"devices", "gpus", "ports", "extra_hosts", "dns", "dns_search", "dns_options", "uidmap", "tmpfs", "cap_add"}
	for _, text := range []string{"/dev/sda:/dev/x:r", "vendor.com/a=b", "127.0.0.1:80:80/udp", "[::1]:1:2", "db:1.2.3.4", "a=[::1]", "1.2.3.4", "ndots:2", "0:1:2", "/t:size=1m", "net_raw", "x\ny:1.2.3.4", "fe80::1%a\nb", "x=fe80::1%a\nb"} {
		for i := range keys {
			f.Add(i, text)
		}
	}
	f.Fuzz(func(t *testing.T, i int, text string) {
		key := keys[(i%len(keys)+len(keys))%len(keys)]
		s, err := pipeline.ParseStep([]pipeline.Flag{
			{Name: "--name", Key: "name", Value: "a"}, {Name: "IMAGE", Key: "image", Value: "x"},
			{Name: "--network", Key: "network", Value: "private"}, {Name: "--flag", Key: key, Value: []string{text}},
		})
		if err != nil {
			return
		}
		lines := slices.Concat(s.Names.DNS, s.Names.DNSSearch, s.Names.DNSOptions)
		for _, h := range s.Names.ExtraHosts {
			lines = append(lines, h.Name, h.Address)
		}
		for _, line := range lines {
			if line == "" || strings.ContainsAny(line, " \t\r\n\x00") {
				t.Errorf("%s: %q", key, line)
			}
		}
		for _, d := range s.Security.Devices {
			if d.Destination != "/dev" && !strings.HasPrefix(d.Destination, "/dev/") || d.Permissions == "" {
				t.Errorf("%+v", d)
			}
		}
		for _, p := range s.Names.Ports {
			if p.Container < 1 || p.Container > 65535 || p.Host < 0 || p.Host > 65535 {
				t.Errorf("%+v", p)
			}
		}
	})
}

func TestGPUsAreNamedAsCDIDevices(t *testing.T) {
	for text, want := range map[string]string{
		"all": "nvidia.com/gpu=all", "0": "nvidia.com/gpu=0", "0,1": "nvidia.com/gpu=0 nvidia.com/gpu=1",
		"device=GPU-3a23": "nvidia.com/gpu=GPU-3a23", "": "", "0,": "", "count=2": "", "a=b": "", "x/y": "",
	} {
		step, err := pipeline.ParseStep([]pipeline.Flag{
			{Name: "--name", Key: "name", Value: "a"}, {Name: "IMAGE", Key: "image", Value: "x"},
			{Name: "--gpus", Key: "gpus", Value: strings.Split(text, ",")},
		})
		if (err == nil) != (want != "") || err == nil && strings.Join(step.Security.CDI, " ") != want {
			t.Errorf("gpus %q are %v, %v; want %q", text, step.Security.CDI, err, want)
		}
	}
}
