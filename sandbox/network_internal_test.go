package sandbox

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNameServersThatANetworkCannotReachAreLeftOut(t *testing.T) {
	const stub = "nameserver 127.0.0.53\noptions edns0\nsearch example.org\n"
	tests := []struct {
		name, own, upstream, want string
		err                       error
	}{
		{"others stay", "nameserver 192.0.2.53\n", "", "nameserver 192.0.2.53\n", nil},
		{"loopback among others", "# ours\nnameserver 127.0.0.1\nnameserver 192.0.2.53\n", "", "# ours\nnameserver 192.0.2.53\n", nil},
		{"systemd-resolved", stub, "nameserver 192.0.2.53\nsearch example.net\n", "nameserver 192.0.2.53\nsearch example.net\n", nil},
		{"loopback alone", stub, "", "", errLoopbackResolver},
		{"loopback behind systemd-resolved as well", stub, "nameserver ::1\n", "", errLoopbackResolver},
		{"link-local of a host's interface", "nameserver fe80::1%eth0\n", "", "", errLoopbackResolver},
		{"none at all", "search example.org\n", "", "search example.org\n", nil},
		{"no file", "", "nameserver 192.0.2.53\n", "", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := reachableResolv([]byte(test.own), []byte(test.upstream))
			if string(got) != test.want || !errors.Is(err, test.err) {
				t.Errorf("got %q, %v; want %q, %v", got, err, test.want, test.err)
			}
		})
	}
}

func TestResolverSettingsReplaceTheirOwnLinesOnly(t *testing.T) {
	base := "nameserver 192.0.2.1\ndomain a\nsearch b\noptions c\nsortlist d"
	for _, test := range []struct {
		names Names
		want  string
	}{
		{Names{}, base},
		{Names{DNS: []string{"::1"}}, "domain a\nsearch b\noptions c\nsortlist d\nnameserver ::1\n"},
		{Names{DNSSearch: []string{"x", "y"}}, "nameserver 192.0.2.1\noptions c\nsortlist d\nsearch x y\n"},
		{Names{DNSOptions: []string{"ndots:2"}}, "nameserver 192.0.2.1\ndomain a\nsearch b\nsortlist d\noptions ndots:2\n"},
	} {
		if diff := cmp.Diff(test.want, string(overrideResolv([]byte(base), &test.names))); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", test.names, diff)
		}
	}
}

func FuzzResolv(f *testing.F) {
	f.Add("nameserver 127.0.0.53\n", "nameserver 192.0.2.1 \n")
	f.Add("nameserver\t::1\r\n#", "")
	f.Fuzz(func(t *testing.T, own, upstream string) {
		got, err := reachableResolv([]byte(own), []byte(upstream))
		if _, left, all := withoutLoopback(got); err == nil && left != all {
			t.Errorf("%q and %q give %q", own, upstream, got)
		}
	})
}
