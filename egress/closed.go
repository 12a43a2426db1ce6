package egress

import "net/netip"

// Closed are networks that no container has business with: the links of the machine itself, and the
// services of clouds that hand out its credentials (of most clouds, of Alibaba, Azure, AWS and Google).
// They are open only to a step whose list has the very address.
func Closed() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("169.254.0.0/16"),
		netip.MustParsePrefix("100.100.100.200/32"),
		netip.MustParsePrefix("168.63.129.16/32"),
		netip.MustParsePrefix("fd00:ec2::/32"),
		netip.MustParsePrefix("fd20:ce::254/128"),
	}
}

// IsClosed reports whether all of a network is closed.
func IsClosed(network netip.Prefix) bool {
	for _, closed := range Closed() {
		if closed.Bits() <= network.Bits() && closed.Overlaps(network) {
			return true
		}
	}
	return false
}
