package network

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/nftables"

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
