package pipeline

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

var sysctlForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(net\.[a-z0-9_.-]+|fs\.mqueue\.[a-z0-9_]+|kernel\.(msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced))$`)
})

// machineSysctl matches settings below net that Linux, up to 6.18, has only once: a network namespace
// other than the first lacks them or may only read them.
var machineSysctl = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^net\.(` + strings.Join([]string{
		`core\.(bpf_jit_\w+|busy_(poll|read)|default_qdisc|dev(_weight\w*|conf_inherit_init_net)|fb_tunnels_only_for_init_net|flow_limit_\w+|gro_normal_batch|high_order_alloc_disable|max_skb_frags|mem_pcpu_rsv|message_(burst|cost)|netdev_\w+|[rw]mem_(default|max)|rps_sock_flow_entries|skb_defer_max|warnings)`,
		`ipv4\.((tcp|udp)_mem|tcp_(allowed|available)_\w+|tcp_low_latency|tcp_max_orphans|fib_sync_mem|inet_peer_\w+|ipfrag_secret_interval|cipso_\w+|route\.(error_\w+|gc_\w+|max_size|redirect_\w+))`,
		`ipv6\.(calipso_\w+|ip6frag_secret_interval|mld_(max_msf|qrv))`,
		`nf_conntrack_max`,
		`netfilter\.nf_(conntrack_(buckets|count|expect_max|max)|log_all_netns)`,
	}, "|") + `)$`)
})

// linkSysctl matches settings of one link, which are groups 1 and 3 without the link's name.
var linkSysctl = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(net\.ipv[46]\.(?:conf|neigh)\.)([^.]+)(\.\w+)$`)
})

// sysctls reads settings that the kernel keeps for each namespace.
func (p *parser) sysctls(v value) map[string]string {
	if v.kind != mapKind {
		p.wrongType(v, "a map")
		return nil
	}
	settings := map[string]string{}
	for _, pair := range v.pairs {
		field := v.field(pair)
		if what, hint := refusedSysctl(pair.name); what != "" {
			p.misplaced(field, fmt.Sprintf("%q is %s", pair.name, what), hint)
		}
		if settings[pair.name] = p.scalar(field); settings[pair.name] == "" && field.scalar() {
			p.misplaced(field, "the setting has no value", "the kernel would ignore it")
		}
	}
	return settings
}

// refusedSysctl says what a setting is that no step may set, and what it may set instead.
func refusedSysctl(name string) (what, hint string) {
	const may = "a step may set net.* that each network has, fs.mqueue.*, kernel.msg*, kernel.sem and kernel.shm*"
	if !sysctlForm().MatchString(name) || strings.Contains(name, "..") {
		return "not a setting of a step's own namespaces", may
	}
	if machineSysctl().MatchString(name) {
		return "a setting of the whole machine, not of each network", may
	}
	if link := linkSysctl().FindStringSubmatch(name); link != nil && !slices.Contains([]string{"all", "default", "lo"}, link[2]) {
		return "a setting of a link that is made after the settings", "set " + link[1] + "default" + link[3] + ", which new links take over"
	}
	return "", ""
}

// ownSysctls refuses settings of networks and of IPC where they would be those of other processes.
func (pl *planner) ownSysctls(all []placed) {
	for _, p := range all {
		ofNetwork := func(name string) bool { return strings.HasPrefix(name, "net.") }
		names := slices.Sorted(maps.Keys(p.Advanced.Sysctls))
		for _, name := range names {
			switch at := p.written.PositionOf("sysctls"); {
			case ofNetwork(name) && p.Advanced.Namespaces["network"] != "":
				pl.fail(at, name+" belongs to the network namespace that the "+p.role()+" joins", "remove one of the two", nil)
			case ofNetwork(name) && p.Network == "host":
				pl.fail(at, name+" needs a network of the "+p.role()+"'s own, and it is on the host's", "set network: private or none", nil)
			case !ofNetwork(name) && p.Advanced.Namespaces["ipc"] != "":
				pl.fail(at, name+" belongs to the IPC namespace that the "+p.role()+" joins", "remove one of the two", nil)
			}
		}
	}
}
