package pipeline

import (
	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/pipeline/tree"
)

// nameKeys are the keys of names and ports.
func nameKeys() []Key {
	return []Key{
		{
			Name: "hostname", Class: Free, Fields: []string{"Names.Hostname"},
			Doc:    "What the step calls itself.",
			Schema: `{"$ref": "#/$defs/hostname"}`,
			Flags: []KeyFlag{
				{Name: "hostname", Short: "h", Kind: TextFlag, Usage: "host `NAME` that the command sees"},
			},
			read:  func(p *parser, s *Step, v value) { s.Names.Hostname = p.hostname(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return asText(s.Names.Hostname) },
		},
		{
			Name: "dns", Class: Free, Fields: []string{"Names.DNS"},
			Doc:    "Addresses of name servers.",
			Schema: `{"$ref": "#/$defs/texts"}`,
			Flags: []KeyFlag{
				{Name: "dns", Kind: ListFlag, Usage: "`ADDRESS` of a name server to use"},
			},
			read:  func(p *parser, s *Step, v value) { s.Names.DNS = p.filled(v, p.address) },
			write: func(_ *writer, s *Step) *yaml.Node { return asTexts(s.Names.DNS) },
		},
		{
			Name: "dns_search", Class: Free, Fields: []string{"Names.DNSSearch"},
			Doc:    "Domains that names are looked for in.",
			Schema: `{"$ref": "#/$defs/texts"}`,
			Flags: []KeyFlag{
				{Name: "dns-search", Kind: ListFlag, Usage: "search `DOMAIN` for names without a dot"},
			},
			read:  func(p *parser, s *Step, v value) { s.Names.DNSSearch = p.filled(v, p.domain) },
			write: func(_ *writer, s *Step) *yaml.Node { return asTexts(s.Names.DNSSearch) },
		},
		{
			Name: "dns_options", Class: Free, Fields: []string{"Names.DNSOptions"},
			Doc:    "Options of resolv.conf(5).",
			Schema: `{"$ref": "#/$defs/texts"}`,
			Flags: []KeyFlag{
				{Name: "dns-option", Kind: ListFlag, Usage: "`OPTION` for resolv.conf, such as ndots:2; see resolv.conf(5)"},
			},
			read:  func(p *parser, s *Step, v value) { s.Names.DNSOptions = p.filled(v, p.resolverOption) },
			write: func(_ *writer, s *Step) *yaml.Node { return asTexts(s.Names.DNSOptions) },
		},
		{
			Name: "extra_hosts", Class: HostResource, Fields: []string{"Names.ExtraHosts"},
			Doc:    "Lines for /etc/hosts: a map from names to addresses, or a list of name:address. The address host-gateway is the host itself.",
			Schema: `{"$ref": "#/$defs/extra_hosts"}`,
			Flags: []KeyFlag{
				{Name: "add-host", Kind: ListFlag, Usage: "add `NAME:ADDRESS` to /etc/hosts; the address host-gateway stands for the host itself"},
			},
			read:  func(p *parser, s *Step, v value) { s.Names.ExtraHosts = p.extraHosts(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return hostsNode(s.Names.ExtraHosts) },
		},
		{
			Name: "aliases", Class: Free, Fields: []string{"Names.Aliases"},
			Doc:    "Further names that lead to the step, for steps and services on a private network.",
			Schema: `{"$ref": "#/$defs/texts"}`,
			Flags: []KeyFlag{
				{Name: "network-alias", Kind: ListFlag, Usage: "additional `NAME` for the command on a private network"},
			},
			read:  func(p *parser, s *Step, v value) { s.Names.Aliases = p.filled(v, p.alias) },
			write: func(_ *writer, s *Step) *yaml.Node { return asTexts(s.Names.Aliases) },
		},
		{
			Name: "egress", Class: HostResource, Fields: []string{"Egress"},
			Doc:    "What the step may reach outside the run: a list of names, *.DOMAIN, addresses and networks, each with :PORT or without; or audit, which records and refuses nothing.",
			Schema: `{"$ref": "#/$defs/egress"}`,
			Flags: []KeyFlag{
				{Name: "allow-egress", Kind: ListFlag, Usage: "let the command reach `NAME[:PORT]` (or an address or network) and nothing outside that is not listed"},
			},
			read:  func(p *parser, s *Step, v value) { s.Egress = p.egress(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return egressNode(s.Egress) },
		},
		{
			Name: "ports", Class: HostResource, Fields: []string{"Names.Ports"},
			Doc:    "Ports of the host that lead to the step, as [address:]host:container[/protocol]; only with network: private.",
			Schema: `{"$ref": "#/$defs/ports"}`,
			Flags: []KeyFlag{
				{Name: "publish", Short: "p", Kind: ListFlag, Usage: "publish a port of the command on the host: `[ADDRESS:]HOST:CONTAINER[/PROTOCOL]`; implies --network private"},
			},
			read:  func(p *parser, s *Step, v value) { s.Names.Ports = p.ports(v) },
			write: func(_ *writer, s *Step) *yaml.Node { return tree.List(s.Names.Ports, portNode) },
		},
	}
}
