package network_test

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/sandbox/network"
)

// firewalld is the shape of the rules that firewalld has without a zone for the links of runs.
const firewalld = `table inet firewalld {
	chain filter_FORWARD {
		type filter hook forward priority filter + 10; policy accept;
		ct state { established, related } accept
		iifname "lo" accept
		jump filter_FORWARD_POLICIES
		ct state invalid drop
		reject with icmpx admin-prohibited
	}
	chain filter_FORWARD_POLICIES {
		iifname "lan0" oifname "lan0" accept
		jump filter_FWD_public
		reject with icmpx admin-prohibited
	}
	chain filter_FWD_public { meta l4proto icmp accept
	}
}
`

func TestFirewallsThatDropPacketsOfRunsAreNamedWithWhatOpensThem(t *testing.T) {
	needRoot(t)
	outside := world(t)
	serve(t, outside, ":80", "hello")
	for name, c := range map[string]struct {
		rules  string
		told   string // of the firewall; "": it carries the run's packets
		remedy string // "": what is told; otherwise what that amounts to
	}{
		"nothing":           {rules: "table inet mine {\n}\n"},
		"policy drop":       {rules: "table inet mine {\n chain f { type filter hook forward priority 0; policy drop;\n}\n}\n"},
		"last rule rejects": {rules: "table ip mine {\n chain f { type filter hook forward priority 0;\n tcp dport 25 drop\n reject\n}\n}\n"},
		"single ports":      {rules: "table inet mine {\n chain f { type filter hook forward priority 0;\n tcp dport { 25, 445 } drop\n ip daddr 10.99.0.0/16 reject\n}\n}\n"},
		"input and output": {rules: `table ip mine {
			chain i { type filter hook input priority 0; policy drop;
			}
			chain o { type filter hook output priority 0; policy drop;
			}
		}
`},
		"rejects in another chain": {
			rules: "table ip mine {\n chain f { type filter hook forward priority 0;\n jump g\n}\n chain g { reject\n}\n}\n",
			told:  "the host's firewall (nftables chain ip mine f) drops",
		},
		"drops in silence": {
			rules: "table inet mine {\n chain f { type filter hook forward priority 0;\n ct state new drop\n}\n}\n",
			told:  "the host's firewall (nftables chain inet mine f) drops",
		},
		"two of them": {
			rules: "table ip mine {\n chain f { type filter hook forward priority 0;\n ct state new drop\n}\n}\ntable inet two {\n chain f { type filter hook forward priority 5;\n ct state new reject\n}\n}\n",
			told:  "ip mine f or inet two f",
		},
		"before routing": {
			rules:  "table inet mine {\n chain p { type filter hook prerouting priority 0;\n iifname \"step-*\" drop\n}\n}\n",
			told:   "a firewall of the host drops",
			remedy: "nft delete table inet mine",
		},
		"firewalld": {
			rules:  firewalld,
			told:   "firewalld drops",
			remedy: `nft insert rule inet firewalld filter_FORWARD_POLICIES iifname 'step-*' accept`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer shell(t, "for t in 'ip mine' 'inet mine' 'inet two' 'inet firewalld'; do nft delete table $t 2>/dev/null || :; done")
			shell(t, "nft -f - <<'E'\n"+c.rules+"E")
			warned := make(chan string, 10)
			n := network.New(network.Options{Run: "aaaaaaaaam", Dir: filepath.Join(t.TempDir(), "network"), Warn: func(line string) { warned <- line }})
			must(t, n.Up(t.Context()))
			defer func() { must(t, n.Down()) }()
			box := join(t, n, network.Member{})
			defer func() { must(t, box.Leave()) }()
			err := n.CheckForwarding(t.Context())
			if c.told == "" {
				must(t, err)
				if got := box.call("198.51.100.2:80"); !strings.HasPrefix(got, "hello") {
					t.Errorf("the world answers %q", got)
				}
				return
			}
			closed := (*network.ClosedError)(nil)
			if !errors.As(err, &closed) || !strings.Contains(err.Error(), c.told) {
				t.Fatalf("found %v, want %q", err, c.told)
			}
			select {
			case line := <-warned:
				if !strings.Contains(line, closed.Error()) || !strings.Contains(line, closed.Remedy()) {
					t.Errorf("warned %q, want %q and %q", line, closed, closed.Remedy())
				}
			case <-time.After(time.Minute):
				t.Error("waited in vain for the warning")
			}
			if c.remedy == "" {
				c.remedy = closed.Remedy()
			}
			shell(t, c.remedy)
			must(t, n.CheckForwarding(t.Context()))
			if got := box.call("198.51.100.2:80"); !strings.HasPrefix(got, "hello") {
				t.Errorf("after %s the world answers %q", c.remedy, got)
			}
		})
	}
}

// From version 2 on firewalld owns its table: nobody else may change it.
func TestRunBesideATableThatOnlyItsOwnerMayChange(t *testing.T) {
	needRoot(t)
	world(t)
	owner := exec.Command("nft", "-i") // it owns the table until it ends
	in, err := owner.StdinPipe()
	must(t, err)
	must(t, owner.Start())
	defer func() { in.Close(); _ = owner.Wait() }()
	_, err = in.Write([]byte("table inet firewalld { flags owner; chain filter_FORWARD { type filter hook forward priority 10; reject with icmpx admin-prohibited; }; }\n"))
	must(t, err)
	shell(t, "for i in $(seq 500); do ! nft list tables | grep -q firewalld || exit 0; sleep 0.02; done; echo waited in vain for the table; exit 1")
	n := network.New(network.Options{Run: "aaaaaaaaan", Dir: filepath.Join(t.TempDir(), "network")})
	must(t, n.Up(t.Context()))
	if err := n.CheckForwarding(t.Context()); err == nil || !strings.Contains(err.Error(), "firewalld drops") {
		t.Errorf("found %v", err)
	}
	must(t, n.Down())
}
