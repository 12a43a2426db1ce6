package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/kballard/go-shellquote"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/runner/actions"
)

func readOptions(t *testing.T, line string) (actions.CreateOptions, error) {
	t.Helper()
	words, err := shellquote.Split(line)
	if err != nil {
		t.Fatal(err)
	}
	return readCreateOptions(words)
}

func TestOptionsOfAContainerAreReadAsDockerDoes(t *testing.T) {
	tcp := func(ip string, host, container int) pipeline.Port {
		return pipeline.Port{HostIP: ip, Host: host, Container: container, Protocol: "tcp"}
	}
	for line, want := range map[string]actions.CreateOptions{
		"-p 127.0.0.1:16500:80":                        {Ports: []pipeline.Port{tcp("127.0.0.1", 16500, 80)}},
		"-p 16501-16502:81-82":                         {Ports: []pipeline.Port{tcp("", 16501, 81), tcp("", 16502, 82)}},
		"--publish 53:53/udp":                          {Ports: []pipeline.Port{{Host: 53, Container: 53, Protocol: "udp"}}},
		"-v data:/var/lib/data":                        {Volumes: []actions.Volume{{Source: "data", Target: "/var/lib/data"}}},
		"-v data:/d:ro,z":                              {Volumes: []actions.Volume{{Source: "data", Target: "/d", ReadOnly: true}}},
		"-v data:/d:nocopy,ro":                         {Volumes: []actions.Volume{{Source: "data", Target: "/d", ReadOnly: true, NoCopy: true}}},
		"-v /scratch":                                  {Volumes: []actions.Volume{{Target: "/scratch"}}},
		"--mount type=volume,src=data,dst=/d,readonly": {Volumes: []actions.Volume{{Source: "data", Target: "/d", ReadOnly: true}}},
		"-v /srv/a:/a:cached":                          {Flags: []pipeline.Flag{{Name: "--volume", Key: "volumes", Value: []string{"/srv/a:/a:cached"}}}},
		"--cpus=.5":                                    {Flags: []pipeline.Flag{{Name: "--cpus", Key: "cpus", Value: pipeline.Number("0.5")}}},
		"--net bridge":                                 {Flags: []pipeline.Flag{{Name: "--network", Key: "network", Value: "private"}}},
		"--ipc host":                                   {Flags: []pipeline.Flag{{Name: "--ipc", Key: "namespaces", Value: []pipeline.Pair{{Key: "ipc", Value: "/proc/self/ns/ipc"}}}}},
		"--restart=no --expose 80":                     {},
		"--security-opt label=disable --security-opt systempaths=unconfined": {Flags: []pipeline.Flag{{Name: "--security-opt", Key: "unmask", Value: true}}},
		"--log-driver none --stop-timeout 5": {Warnings: []string{
			"options: --log-driver has no effect: the command's output goes to standard output, and to the record of the run (see stepexec logs; --log-uri file:///PATH is another place)",
			"options: --stop-timeout has no effect: the job decides how long its containers have to stop",
		}},
	} {
		got, err := readOptions(t, line)
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", line, err, diff)
		}
	}
	for line, want := range map[string]string{
		"-v ./data:/x":           "relative path, and a container has no directory that it is relative to (write ${{ github.workspace }}/data",
		"-v ../data:/x":          "(write ${{ github.workspace }}/data",
		"-p 8000-8002:80-81":     "ranges of different lengths",
		"--link db":              "write a pipeline with services",
		"--network container:db": "there are no other containers to join",
		"--restart always":       "a command runs once",
		"--cap-drop":             "flag needs an argument",
	} {
		if _, err := readOptions(t, line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", line, err, want)
		}
	}
}

// The host's port of -p 0:80 is chosen when the option is read.
func TestFreePortOfOptionsIsChosen(t *testing.T) {
	for _, line := range []string{"-p 0:80", "-p 127.0.0.1::80"} {
		got, err := readOptions(t, line)
		if err != nil || len(got.Ports) != 1 || got.Ports[0].Host < 1024 || got.Ports[0].Container != 80 {
			t.Errorf("%s: %v, %v", line, got.Ports, err)
		}
	}
}
