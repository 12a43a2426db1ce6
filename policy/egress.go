package policy

import (
	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/egress"
)

// egress reads what steps may reach outside their run: a list, or the word audit.
func (r *reader) egress(key string, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Value == string(egress.Audit) {
		r.policy.rules.egress = &egress.Rules{Mode: egress.Audit}
		return
	}
	if n.Kind != yaml.SequenceNode {
		r.fail(n, key, "must be a list, or audit", "")
		return
	}
	rules := &egress.Rules{Mode: egress.Deny, List: egress.List{}}
	for _, item := range n.Content {
		rule, err := egress.Parse(item.Value)
		if err != nil {
			r.fail(item, key, err.Error(), "")
			continue
		}
		rules.List = append(rules.List, rule)
	}
	r.policy.rules.egress = rules
}

// egress gives a step the policy's rules, which its own list can only narrow.
func (c *check) egress() {
	limit, own := c.rules.egress, &c.step.Egress
	if limit == nil || limit.Mode != egress.Deny {
		for _, rule := range own.List {
			if rule.Name == "" && (egress.IsClosed(rule.Prefix) || rule.Prefix.IsSingleIP() && !rule.Prefix.Addr().IsGlobalUnicast()) {
				c.deny("egress", rule.String(), "it is an address of the machine's own links or of its cloud's services, and only a policy may list it", "egress")
			}
		}
		if limit != nil && own.Mode == egress.Open && c.step.Network == "private" {
			*own = *limit
		}
		return
	}
	if c.step.Network == "host" {
		c.deny("network", c.step.Network, "what a step reaches on the host's network is not limited, and the policy has a list", "egress")
		return
	}
	if own.Mode != egress.Deny {
		*own = *limit
		return
	}
	for _, rule := range own.List {
		if !limit.List.Covers(rule) {
			c.deny("egress", rule.String(), notListed, "egress")
		}
	}
}
