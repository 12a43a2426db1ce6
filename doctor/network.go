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

// privateNetwork makes a private network, or for a normal user looks for what leads one
// outside. Steps on other networks need nothing of that, so nothing here is a failure.
func (m *Machine) privateNetwork(ctx context.Context) Result {
	if !m.isRoot() {
		return m.userNetwork()
	}
	if m.Network == nil {
		return ok("")
	}
	if err := m.Network(ctx); err != nil {
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

// remedyOf says what mends what the kernel lacks, by what could not be made.
func remedyOf(err error) string {
	if strings.Contains(err.Error(), "nftables") || strings.Contains(err.Error(), "filter") {
		return "modprobe nf_tables nft_chain_nat nft_masq nft_ct nft_log nft_reject_inet"
	}
	return "modprobe bridge veth"
}

// tryNetwork makes a private network and takes it away again.
func tryNetwork(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "stepexec-doctor-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	n := network.New(network.Options{Run: fmt.Sprintf("doc%s", strings.ToLower(rand.Text()[:7])), Dir: filepath.Join(dir, "network")})
	return errors.Join(n.Up(ctx), n.Down())
}
