package network

import (
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// Fixtures lists what the network of the calling process has that lasts until
// somebody deletes it: links and tables of nftables, but for those of runs.
func Fixtures() ([]string, error) {
	var all []string
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the host's links: %w", err)
	}
	for _, link := range links {
		if name := link.Attrs().Name; !strings.HasPrefix(name, linkPrefix) {
			all = append(all, "link "+name)
		}
	}
	nft, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("open an nftables socket: %w", err)
	}
	tables, err := nft.ListTables()
	if err != nil {
		return nil, fmt.Errorf("list the tables of nftables: %w", err)
	}
	for _, table := range tables {
		if !strings.HasPrefix(table.Name, tablePrefix) {
			all = append(all, fmt.Sprintf("table %s %s", familyName(table.Family), table.Name))
		}
	}
	return all, nil
}

// familyName is what nft(8) calls a family of tables.
func familyName(family nftables.TableFamily) string {
	names := map[nftables.TableFamily]string{
		nftables.TableFamilyINet: "inet", nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6",
		nftables.TableFamilyARP: "arp", nftables.TableFamilyBridge: "bridge", nftables.TableFamilyNetdev: "netdev",
	}
	return names[family]
}
