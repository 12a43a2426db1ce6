package network

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/egress"
)

// A first container whose rules cannot be set up must not make the next one rely on tables that do
// not exist.
func TestEgressRulesAfterThoseThatCouldNotBeSetUp(t *testing.T) {
	if os.Geteuid() != 0 {
		return // the kernel lets only root make a network
	}
	n := New(Options{Run: "aaaaaaaaap", Dir: filepath.Join(t.TempDir(), "network")})
	if err := n.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Down(); err != nil {
			t.Error(err)
		}
	}()
	router, inTheWay := n.router, &nftables.Set{Table: n.tables.egress.bridge, Name: "known4", KeyType: nftables.TypeMark}
	if err := router.insert(inTheWay, nil); err != nil {
		t.Fatal(err)
	}
	if err := router.nft.Flush(); err != nil {
		t.Fatal(err)
	}
	audited := Member{Egress: egress.Rules{Mode: egress.Audit}}
	if _, err := n.Join(audited); err == nil {
		t.Fatal("a set of another type is no error")
	}
	router.nft.DelSet(inTheWay)
	if err := router.nft.Flush(); err != nil {
		t.Fatal(err)
	}
	e, err := n.Join(audited)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Leave(); err != nil {
		t.Error(err)
	}
}

func TestConnectionsThatAreNotNotedAreTold(t *testing.T) {
	for _, mode := range []egress.Mode{egress.Open, egress.Audit, egress.Deny} {
		lost := 0
		r := newRecord(Member{Egress: egress.Rules{Mode: mode}}, func() { lost++ })
		for i := range maxConnections + 5 {
			address := netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)})
			r.receive(packet{kind: reportBegun, to: netip.AddrPortFrom(address, 80), protocol: unix.IPPROTO_TCP}, "")
		}
		noted, notNoted := maxConnections, 5
		if mode == egress.Open {
			noted, notNoted = 0, 0
		}
		if len(r.connections) != noted || lost != notNoted {
			t.Errorf("mode %v: %d connections are noted and %d are told as lost, want %d and %d", mode, len(r.connections), lost, noted, notNoted)
		}
	}
}
