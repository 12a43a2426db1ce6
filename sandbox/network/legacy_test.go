package network_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/sandbox/network"
)

// Each rules change empty tables of both versions of IP.
func TestTablesOfLegacyThatDropPacketsOfRunsAreTold(t *testing.T) {
	needRoot(t)
	outside := world(t)
	serve(t, outside, ":80", "hello")
	for name, c := range map[string]struct {
		rules string
		told  string
		open  bool
	}{
		"nothing":              {rules: "iptables-legacy -S", open: true},
		"policy accept":        {rules: "iptables-legacy -A FORWARD -s 192.0.2.0/24 -j DROP", open: true},
		"policy drop":          {rules: "iptables-legacy -P FORWARD DROP", told: "the FORWARD chain of iptables-legacy drops"},
		"policy drop of INPUT": {rules: "iptables-legacy -P INPUT DROP", open: true},
		"last rule refuses":    {rules: "iptables-legacy -A FORWARD -s 192.0.2.0/24 -j ACCEPT; iptables-legacy -A FORWARD -j REJECT", told: "iptables-legacy drops"},
		"a rule with a match":  {rules: "iptables-legacy -A FORWARD -p tcp --dport 25 -j DROP", open: true},
		"of IPv6": {rules: "ip6tables-legacy -A FORWARD -s 2001:db8::/64 -j ACCEPT; ip6tables-legacy -P FORWARD DROP",
			told: "ip6tables-legacy drops", open: true},
		"with our rules": {rules: `iptables-legacy -P FORWARD DROP; iptables-legacy -I FORWARD -i step-+ -j ACCEPT
			iptables-legacy -I FORWARD -o step-+ -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT`, open: true},
		"with our rules in a chain": {rules: `iptables-legacy -P FORWARD DROP; iptables-legacy -N RUNS; iptables-legacy -A FORWARD -j RUNS
			iptables-legacy -A RUNS -i step-+ -j ACCEPT; iptables-legacy -A RUNS -o step-+ -j ACCEPT`, open: true},
	} {
		t.Run(name, func(t *testing.T) {
			defer shell(t, "for ip in ip ip6; do for c in INPUT FORWARD; do ${ip}tables-legacy -P $c ACCEPT; ${ip}tables-legacy -F $c; done; ${ip}tables-legacy -F; ${ip}tables-legacy -X; done")
			shell(t, c.rules)
			var warnings []string
			n := network.New(network.Options{Run: "aaaaaaaaal", Dir: filepath.Join(t.TempDir(), "network"), Warn: func(line string) { warnings = append(warnings, line) }})
			must(t, n.Up(t.Context()))
			defer func() { must(t, n.Down()) }()
			told := strings.Join(warnings, "\n")
			if !strings.Contains(told, c.told) || (told == "") != (c.told == "") {
				t.Errorf("warned %q, want %q", told, c.told)
			}
			box := join(t, n, network.Member{})
			if got := box.call("198.51.100.2:80"); strings.HasPrefix(got, "hello") != c.open {
				t.Errorf("the world answers %q", got)
			}
			must(t, box.Leave())
			if c.told == "" {
				return
			}
			_, remedy, _ := strings.Cut(told, "(")
			if out, err := exec.Command("sh", "-ec", strings.TrimSuffix(remedy, ")")).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", remedy, err, out)
			}
			if err := n.CheckForwarding(t.Context()); err != nil {
				t.Errorf("after the remedy: %v", err)
			}
			again := join(t, n, network.Member{})
			if got := again.call("198.51.100.2:80"); !strings.HasPrefix(got, "hello") {
				t.Errorf("after the remedy the world answers %q", got)
			}
			must(t, again.Leave())
		})
	}
}
