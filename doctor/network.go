package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/stepexec/stepexec/sandbox/network"
)

// privateNetwork creates a private network. For a normal user it instead looks for the program that
// connects one to the outside. Steps on other networks need none of this, so no finding is a
// failure.
func (m *Machine) privateNetwork(ctx context.Context) Result {
	if !m.isRoot() {
		return m.userNetwork()
	}
	if m.Network == nil {
		return ok("")
	}
	err := m.Network(ctx)
	if closed := (*network.ClosedError)(nil); errors.As(err, &closed) {
		return warn(closed.Error()+": they reach no address outside their run", closed.Remedy())
	}
	if err != nil {
		return warn(err.Error()+": steps with network: private do not run", remedyOf(err))
	}
	return ok("a bridge by netlink, a table of nftables")
}

func (m *Machine) userNetwork() Result {
	if not := m.missing("pasta", "slirp4netns"); len(not) == 2 {
		return warn("neither pasta nor slirp4netns found: steps with network: private do not run", "apt-get install passt")
	}
	tun, err := os.OpenFile(filepath.Join(m.Files, "/dev/net/tun"), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return warn("no /dev/net/tun: steps with network: private do not run", "modprobe tun")
	}
	if err != nil {
		return warn(err.Error()+": steps with network: private do not run", "chmod 0666 /dev/net/tun")
	}
	if err := tun.Close(); err != nil {
		return warn(err.Error(), "")
	}
	return ok("pasta or slirp4netns, and /dev/net/tun opens")
}

// remedyOf returns advice on whatever the kernel lacks, judged by the object that could not be
// created.
func remedyOf(err error) string {
	if strings.Contains(err.Error(), "nftables") || strings.Contains(err.Error(), "filter") {
		return "modprobe nf_tables nft_chain_nat nft_masq nft_ct nft_log nft_reject_inet"
	}
	return "modprobe bridge veth"
}

// tryNetwork creates a private network and removes it again. It returns a *network.ClosedError if
// such a network works but leads nowhere.
func tryNetwork(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "stepexec-doctor-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	n := network.New(network.Options{Run: fmt.Sprintf("doc%s", strings.ToLower(rand.Text()[:7])), Dir: filepath.Join(dir, "network")})
	if err = n.Up(ctx); err == nil {
		err = n.CheckForwarding(ctx)
	}
	return errors.Join(err, n.Down(), n.Wait())
}
