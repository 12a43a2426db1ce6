package pipeline

import (
	"cmp"
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/egress"
	"github.com/stepexec/stepexec/pipeline/tree"
)

// egress reads what may be reached: a list, or the word audit.
func (p *parser) egress(v value) *egress.Rules {
	if v.kind != listKind {
		if v.kind == textKind && v.text == string(egress.Audit) {
			return &egress.Rules{Mode: egress.Audit}
		}
		p.wrong(v, "must be a list of what may be reached, or audit", "an empty list allows nothing")
		return nil
	}
	rules := &egress.Rules{Mode: egress.Deny, List: egress.List{}}
	for i := range v.items {
		item := v.item(i)
		text := p.word(item)
		if text == "" {
			continue // it has been refused
		}
		rule, err := egress.Parse(text)
		if err != nil {
			p.wrong(item, err.Error(), "")
			continue
		}
		rules.List = append(rules.List, rule)
	}
	return rules
}

func egressNode(rules *egress.Rules) *yaml.Node {
	switch {
	case rules == nil:
		return nil
	case rules.Mode == egress.Audit:
		return asText(string(egress.Audit))
	case len(rules.List) == 0:
		return &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	}
	return tree.List(rules.List, func(r *egress.Rule) *yaml.Node { return asText(r.String()) })
}

// egress decides what a step may reach. Its own list, or that of the pipeline, narrows what
// the one who runs it allows. A step that names no network gets one that can be watched.
func (pl *planner) egress(step *PlannedStep, s *Step) {
	own := cmp.Or(s.Egress, pl.pipeline.Egress)
	rules := cmp.Or(own, pl.in.Egress)
	if rules == nil {
		return
	}
	step.Egress = *rules
	if limit := pl.in.Egress; own != nil && limit != nil && limit.Mode == egress.Deny {
		pl.narrow(step, s, limit)
	}
	switch {
	case s.Network == "" && pl.in.Network == "":
		step.Network = "private"
	case step.Network == "host":
		pl.fail(s.PositionOf("egress"), "egress needs a network of the step's own, and the step is on the host's", "set network: private", nil)
	}
}

// narrow refuses what a list has and its limit has not. A limit without rules, as of
// --egress deny, lets every list stand.
func (pl *planner) narrow(step *PlannedStep, s *Step, limit *egress.Rules) {
	if step.Egress.Mode != egress.Deny {
		step.Egress = *limit
		return
	}
	for _, rule := range step.Egress.List {
		if len(limit.List) > 0 && !limit.List.Covers(rule) {
			pl.fail(s.PositionOf("egress"), fmt.Sprintf("egress %s is not in the list of --egress", rule), "add it there, or remove it here", nil)
		}
	}
}
