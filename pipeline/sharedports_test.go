package pipeline_test

import (
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
)

// A port of the host that two publish at the same time is an error of the file, by whatever
// address. Those that run one after the other, or maybe not both, may share it.
func TestPortsThatTwoPublishAtTheSameTimeAreRefused(t *testing.T) {
	const service = "services:\n  api: {image: x, network: private, ports: [\"8080:80\"]}\n"
	step := func(name, ports, more string) string {
		return "  - {name: " + name + ", image: x, network: private, ports: [\"" + ports + "\"], commands: [make]" + more + "}\n"
	}
	for _, test := range []struct {
		name, file, want string // want: "" is that it is valid
	}{
		{"two services", service + "  web: {image: x, network: private, ports: [\"127.0.0.1:8080:81\"]}\nsteps:\n" + step("a", "90", ""), "p.yml:3:37: services.web.ports: the port 8080 of the host is published by the service api and by the service web"},
		{"a range", service + "steps:\n" + step("a", "8079-8081:80-82", ""), "p.yml:4:43: steps[0].ports: the port 8080 of the host is published by the service api and by the step a"},
		{"all addresses", service + "steps:\n" + step("a", "0.0.0.0:8080:80", ""), "the service api and by the step a"},
		{"all addresses of IPv6, which take IPv4 too", service + "steps:\n" + step("a", "[::]:8080:80", ""), "the service api and by the step a"},
		{"another protocol", service + "steps:\n" + step("a", "8080:80/udp", ""), ""},
		{"another address", service + "steps:\n" + step("a", "[::1]:8080:80", "") + step("b", "127.0.0.2:8080:80", ""), ""},
		{"steps one after the other", "steps:\n" + step("a", "80", "") + step("b", "80", ""), ""},
		{"a step behind a detached one", "steps:\n" + step("a", "80", ", detach: true") + step("b", "81", "") + step("c", "80", ""), "the detached step a and by the step c"},
		{"a step before a detached one", "steps:\n" + step("a", "80", "") + step("b", "80", ", detach: true"), ""},
		{"two detached steps", "steps:\n" + step("a", "80", ", detach: true") + step("b", "80", ", detach: true"), "the detached step a and by the detached step b"},
		{"steps with conditions", "steps:\n" + step("a", "80", ", detach: true, when: {branch: main}") + step("b", "80", ", when: {branch: {exclude: main}}"), ""},
	} {
		p, err := pipeline.Parse("p.yml", []byte(test.file))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		for way, err := range map[string]error{"validate": p.CheckNetworks(), "plan": planErr(p)} {
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%s: %s: %v, want %q", test.name, way, err, test.want)
			}
		}
	}
}

// A port of a step is listed twice also where an address of the two contains the other.
func TestPortsOfAStepThatCoverEachOtherAreRefused(t *testing.T) {
	for ports, isTwice := range map[string]bool{
		`"127.0.0.1:80:80", "80:81"`:     true,
		`"0.0.0.0:80:80", "80:81"`:       true,
		`"[::]:80:80", "80:81"`:          true,
		`"0.0.0.0:80:80", "[::1]:80:81"`: false,
		`"127.0.0.2:80:80", "80:81"`:     false,
		`"80", "80/udp"`:                 false,
	} {
		_, err := pipeline.Parse("p.yml", []byte("steps:\n  - {name: a, image: x, network: private, commands: [make], ports: ["+ports+"]}\n"))
		if got := err != nil && strings.Contains(err.Error(), "of the host is published twice"); got != isTwice {
			t.Errorf("%s: %v, want an error: %t", ports, err, isTwice)
		}
	}
}
