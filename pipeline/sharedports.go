package pipeline

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/stepexec/stepexec/container"
)

// takenPorts are published ports: the address of the host and the owner of each, by number and
// protocol.
type takenPorts[T any] map[portKey][]takenPort[T]

type portKey struct {
	number   int
	protocol string
}

type takenPort[T any] struct {
	at    netip.Addr
	owner T
}

// take notes a port. It returns the owners whose sockets leave no room for it.
func (t takenPorts[T]) take(p Port, owner T) (others []T) {
	at, err := netip.ParseAddr(cmp.Or(p.HostIP, container.DefaultHostIP))
	if err != nil {
		return nil // reported where the port is read
	}
	key := portKey{hostPort(p), cmp.Or(p.Protocol, "tcp")}
	at = at.Unmap()
	for _, other := range t[key] {
		if overlap(at, other.at) {
			others = append(others, other.owner)
		}
	}
	t[key] = append(t[key], takenPort[T]{at, owner})
	return others
}

// overlap reports whether two sockets on one port are in each other's way. A socket at :: takes
// connections by IPv4, too.
func overlap(a, b netip.Addr) bool {
	covers := func(all, one netip.Addr) bool { return all.IsUnspecified() && (all.Is6() || one.Is4()) }
	return a == b || covers(a, b) || covers(b, a)
}

// portsApart refuses ports that two publish at the same time: the second one could not start.
// Steps with conditions may exclude each other, so the run finds those.
func (pl *planner) portsApart(all []placed) {
	steps := map[string]*PlannedStep{}
	for i := range all {
		if !all[i].service {
			steps[all[i].Name] = all[i].PlannedStep
		}
	}
	taken := takenPorts[*placed]{}
	for i := range all {
		p := &all[i]
		if len(p.written.When) > 0 {
			continue
		}
		for _, port := range p.Names.Ports {
			others := taken.take(port, p)
			j := slices.IndexFunc(others, func(other *placed) bool {
				return other == p || p.lastsInto(other, steps) || other.lastsInto(p, steps)
			})
			if j >= 0 {
				pl.fail(p.written.PositionOf("ports"), fmt.Sprintf("the port %d of the host is published by the %s %s and by the %s %s, which run at the same time",
					hostPort(port), others[j].role(), others[j].Name, p.role(), p.Name), "give each a port of its own; on the run's network they are reached by their names", nil)
				break
			}
		}
	}
}

// lastsInto reports whether p surely runs while other does: services run all the time, detached
// steps until the end of the run.
func (p *placed) lastsInto(other *placed, steps map[string]*PlannedStep) bool {
	return p.service || p.Detach && (other.Detach || other.waitsFor(p.Name, steps, map[string]bool{}))
}

// waitsFor reports whether a step starts after another one, maybe with further ones between them.
func (s *PlannedStep) waitsFor(name string, steps map[string]*PlannedStep, seen map[string]bool) bool {
	return slices.ContainsFunc(s.DependsOn, func(before string) bool {
		if before == name {
			return true
		}
		step := steps[before]
		if step == nil || seen[before] {
			return false
		}
		seen[before] = true
		return step.waitsFor(name, steps, seen)
	})
}
