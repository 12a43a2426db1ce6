package pipeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/stepexec/stepexec/container"
)

// reachable refuses a step that needs a service on another network. The service's name would
// lead it to nobody or, worse, to somebody else. A step without any network reaches nobody,
// and cannot be taken in.
func (pl *planner) reachable(step *PlannedStep, written *Step, services []PlannedStep) {
	if step.Network == "none" || step.Advanced.Namespaces["network"] != "" || step.Advanced.Spec != nil {
		return
	}
	for i := range services {
		service := &services[i]
		if !slices.Contains(step.Needs, service.Name) || service.Network == step.Network || service.Network == "none" ||
			service.Advanced.Namespaces["network"] != "" || service.Advanced.Spec != nil {
			continue
		}
		// There are ways that the file names: ports of the host, and the host itself.
		if step.Network == "host" && len(service.Names.Ports) > 0 || step.Network == "private" && reachesHost(step) {
			continue
		}
		hint := "give both the same network, or name the service in the depends_on of those steps that need it"
		if pl.pipeline.NeedsUnsaid {
			if !written.speaksOf(append([]string{service.Name}, service.Names.Aliases...)) {
				continue
			}
			hint = "give both the same network_mode"
		}
		pl.fail(written.Position, fmt.Sprintf("the step is on network %s and needs service %s, which is on network %s: it cannot reach it", step.Network, service.Name, service.Network), hint, nil)
	}
}

// speaksOf reports whether a text of the step has one of the names as a word.
func (s *Step) speaksOf(names []string) bool {
	return slices.ContainsFunc(s.texts(), func(text string) bool {
		words := strings.FieldsFunc(text, func(r rune) bool {
			isOfName := r == '-' || r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
			return !isOfName
		})
		return slices.ContainsFunc(words, func(word string) bool {
			return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(strings.Trim(word, ".-"), name) })
		})
	})
}

// texts are all that the file gives to the step's program.
func (s *Step) texts() []string {
	texts := slices.Concat(s.Commands, s.Entrypoint, s.Args)
	for i := range s.Environment {
		texts = append(texts, s.Environment[i].Value.Text)
	}
	var add func(settings []Setting)
	add = func(settings []Setting) {
		for i := range settings {
			texts = append(texts, settings[i].Value.Text)
			add(settings[i].List)
			add(settings[i].Map)
		}
	}
	add(s.Settings)
	return texts
}

// CheckNetworks refuses steps that need a service on another network, as a plan does, where
// steps that name no network are on the host's. The error is an [Errors].
func (p *Pipeline) CheckNetworks() error {
	pl := &planner{pipeline: p}
	plain := func(s *Step) PlannedStep {
		return PlannedStep{Name: s.Name, Network: cmp.Or(s.Network, "host"), Names: s.Names, Advanced: s.Advanced}
	}
	var services []PlannedStep
	for i := range p.Services {
		services = append(services, plain(&p.Services[i]))
	}
	needs := p.serviceNeeds()
	for i := range p.Steps {
		step := plain(&p.Steps[i])
		step.Needs = needs.of(&p.Steps[i])
		pl.reachable(&step, &p.Steps[i], services)
	}
	return pl.errs.result()
}

func reachesHost(step *PlannedStep) bool {
	return slices.ContainsFunc(step.Names.ExtraHosts, func(h HostAddress) bool { return h.Address == container.HostGateway })
}
