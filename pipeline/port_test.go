package pipeline_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/pipeline"
)

func TestParsePortsReadsTheFormsOfDocker(t *testing.T) {
	tcp := func(ip string, host, container int) pipeline.Port {
		return pipeline.Port{HostIP: ip, Host: host, Container: container, Protocol: "tcp"}
	}
	for text, want := range map[string][]pipeline.Port{
		"80":                      {tcp("", 0, 80)},
		"8080:80":                 {tcp("", 8080, 80)},
		"127.0.0.1:16500:80":      {tcp("127.0.0.1", 16500, 80)},
		"[::1]:8080:80":           {tcp("::1", 8080, 80)},
		"53:53/udp":               {{Host: 53, Container: 53, Protocol: "udp"}},
		"16501-16502:81-82":       {tcp("", 16501, 81), tcp("", 16502, 82)},
		"80-81":                   {tcp("", 0, 80), tcp("", 0, 81)},
		"0:80":                    {tcp("", pipeline.FreePort, 80)},
		":80":                     {tcp("", pipeline.FreePort, 80)},
		"127.0.0.1::80-81":        {tcp("127.0.0.1", pipeline.FreePort, 80), tcp("127.0.0.1", pipeline.FreePort, 81)},
		"127.0.0.1:7000-7000:1-1": {tcp("127.0.0.1", 7000, 1)},
	} {
		got, err := pipeline.ParsePorts(text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", text, err, diff)
		}
	}
	for _, text := range []string{"", "x", "x:80", "80/sctp", "0", "70000", "8000-8002:80-81", "82-80", "1-2-3:1-2-3", "300.1.1.1:1:1", "1:2:3:4", "-1:80", "80:"} {
		if got, err := pipeline.ParsePorts(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

func TestFileWithMorePortsThanAMachineHasIsRefused(t *testing.T) {
	file := func(ranges int) []byte {
		var text strings.Builder
		text.WriteString("steps:\n")
		for i := range ranges {
			fmt.Fprintf(&text, "  - {name: s%d, image: i, network: private, ports: ['127.0.0.%d:1-65535:1-65535']}\n", i, i+1)
		}
		return []byte(text.String())
	}
	if _, err := pipeline.Parse("pipeline.yml", file(2)); err != nil {
		t.Error(err)
	}
	_, err := pipeline.Parse("pipeline.yml", file(3))
	if err == nil || !strings.Contains(err.Error(), "steps[2].ports[0]: the file publishes more than the 131070 ports allowed") {
		t.Errorf("error %v", err)
	}
}
