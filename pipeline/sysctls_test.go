package pipeline_test

import (
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
)

func TestSysctlsOfAStepAreOfItsOwnNamespaces(t *testing.T) {
	const machine = "is a setting of the whole machine"
	for _, test := range []struct{ step, want string }{ // want: "" is that it is valid
		{`network: private, sysctls: {net.core.somaxconn: 10, net.ipv4.ip_forward: 1, net.ipv4.tcp_rmem: 4096 8192 16384}`, ""},
		{`network: none, sysctls: {net.ipv4.conf.default.rp_filter: 0, net.ipv6.conf.all.disable_ipv6: 1, net.ipv4.conf.lo.forwarding: 1}`, ""},
		{`sysctls: {kernel.sem: 1 2 3 4, fs.mqueue.msg_max: 20}`, ""},
		{`network: private, sysctls: {net.core.rmem_max: 10}`, machine},
		{`network: private, sysctls: {net.ipv4.tcp_mem: 1 2 3}`, machine},
		{`network: private, sysctls: {net.netfilter.nf_conntrack_max: 10}`, machine},
		{`network: private, sysctls: {net.ipv4.route.gc_thresh: 10}`, machine},
		{`network: private, sysctls: {net.ipv4.conf.eth0.rp_filter: 0}`, "set net.ipv4.conf.default.rp_filter"},
		{`network: private, sysctls: {net.core.somaxconn: ""}`, "the setting has no value"},
		{`sysctls: {vm.swappiness: 1}`, "not a setting of a step's own namespaces (a step may set net.* that each network has"},
		{`network: host, sysctls: {net.core.somaxconn: 10}`, "p.yml:2:58: steps[0].sysctls: net.core.somaxconn needs a network of the step's own"},
		{`namespaces: {network: /proc/1/ns/net}, sysctls: {net.core.somaxconn: 10}`, "the network namespace that the step joins"},
		{`network: private, namespaces: {ipc: host}, sysctls: {kernel.sem: 1 2 3 4}`, "the IPC namespace that the step joins"},
	} {
		p, err := pipeline.Parse("p.yml", []byte("steps:\n  - {name: a, image: x, commands: [make], "+test.step+"}\n"))
		ways := map[string]error{"parse": err}
		if err == nil {
			ways = map[string]error{"validate": p.CheckNetworks(), "plan": planErr(p)}
		}
		for way, err := range ways {
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%s: %s: %v, want %q", test.step, way, err, test.want)
			}
		}
	}
}

// Whoever starts a run chooses the network of a step that names none.
func TestSysctlsOfANetworkThatTheFileLeavesOpen(t *testing.T) {
	p, err := pipeline.Parse("p.yml", []byte("steps:\n  - {name: a, image: x, commands: [make], sysctls: {net.core.somaxconn: 10}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.CheckNetworks(); err != nil {
		t.Errorf("validate: %v", err)
	}
	if err := planErr(p); err == nil || !strings.Contains(err.Error(), "needs a network of the step's own") {
		t.Errorf("on the host's network: %v", err)
	}
}
