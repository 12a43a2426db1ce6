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
func (pl *planner) reachable(step *PlannedStep, at Position, services []PlannedStep) {
	// Of other formats a name that leads nowhere is an error when it is used, as with their own runners.
	if !strings.HasPrefix(at.Key, "steps") {
		return
	}
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
		pl.fail(at, fmt.Sprintf("the step is on network %s and needs service %s, which is on network %s: it cannot reach it", step.Network, service.Name, service.Network),
			"give both the same network, or name the service in the depends_on of those steps that need it", nil)
	}
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
		pl.reachable(&step, p.Steps[i].Position, services)
	}
	return pl.errs.result()
}

func reachesHost(step *PlannedStep) bool {
	return slices.ContainsFunc(step.Names.ExtraHosts, func(h HostAddress) bool { return h.Address == container.HostGateway })
}
