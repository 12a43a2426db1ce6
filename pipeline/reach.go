package pipeline

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/stepexec/stepexec/container"
)

// placed is a step or service of a plan, beside what the file says of it.
type placed struct {
	*PlannedStep
	written *Step
	service bool
}

// reachable refuses steps and services that need one on another network. Its name would lead them
// to nobody or, worse, to somebody else.
func (pl *planner) reachable(all []placed) {
	for _, from := range all {
		hosts := sync.OnceValue(from.written.hosts)
		for _, to := range all {
			if to.PlannedStep == from.PlannedStep || !to.service && !to.Detach || !pl.areApart(&from, &to) || !pl.isNeeded(&from, &to, hosts) {
				continue
			}
			hint := "give both the same network, or name the service in the depends_on of those steps that need it"
			if pl.pipeline.NeedsUnsaid {
				hint = "give both the same network_mode"
			}
			pl.fail(from.written.Position, fmt.Sprintf("the %s is on network %s and needs %s %s, which is on network %s: it cannot reach it",
				from.role(), from.Network, to.role(), to.Name, to.Network), hint, nil)
		}
	}
}

func (p *placed) role() string {
	switch {
	case p.service || p.Serves:
		return "service"
	case p.Detach:
		return "detached step"
	}
	return "step"
}

// areApart reports whether no way that the file names leads from one to the other. Ports of the
// host and the host itself are such ways.
func (pl *planner) areApart(from, to *placed) bool {
	isElsewhere := func(p *placed) bool { return p.Advanced.Namespaces["network"] != "" || p.Advanced.Spec != nil }
	switch {
	case from.Network == to.Network || to.Network == "none" || isElsewhere(from) || isElsewhere(to):
		return false
	case from.Network == "host" && len(to.Names.Ports) > 0, from.Network == "private" && reachesHost(from.PlannedStep):
		return false
	}
	return true
}

// isNeeded reports whether one needs the other, which is on another network. Steps say which
// services they need, where the format has a word for it. All others need whom they name. A step
// without any network can go without a service; if it calls one it has forgotten that. hosts are those
// of from: they are found once, as there may be hundreds of both.
func (pl *planner) isNeeded(from, to *placed, hosts func() map[string]bool) bool {
	names := append([]string{to.Name}, to.Names.Aliases...)
	isStated := !from.service && to.service
	switch {
	case isStated && !slices.Contains(from.Needs, to.Name):
		return false
	case isStated && from.Network != "none" && !pl.pipeline.NeedsUnsaid:
		return true
	}
	return slices.ContainsFunc(names, func(name string) bool { return hosts()[strings.ToLower(name)] })
}

// hostVariable matches the names of variables whose value is a host. Those of others, such as of a driver, of a mode
// or of an image, have the names of services, too.
var hostVariable = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)(^|_)(PG)?(HOST|HOSTNAME|SERVER|ADDR|ADDRESS|ENDPOINT|BROKERS?|URL|URI)$`)
})

// hostPlaces match a word in the place of a host, which is the last group: in an address, behind --host or the -h of a
// database's client. portPlace has the port behind it. What only looks like that, as the tag of an image, a target of
// bazel or the -h of grep do, does not count: the file may work.
var hostPlaces = sync.OnceValue(func() []*regexp.Regexp {
	const client = `(?:^|[^a-z0-9_.-])(?:psql|pg_[a-z]+|createdb|dropdb|mysql[a-z]*|mariadb[a-z-]*|redis-cli|valkey-cli|mosquitto_[a-z]+|ldap[a-z]+)`
	return []*regexp.Regexp{
		regexp.MustCompile(`[a-z][a-z0-9+.-]*://(?:[^/\s@]*@)?([a-z0-9_.-]+)`),
		regexp.MustCompile(`--host[= ]([a-z0-9_.-]+)`),
		regexp.MustCompile(client + `\s(?:[^|;&\n]*\s)?-h\s*([a-z0-9_.-]+)`),
	}
})

var portPlace = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?:^|[^a-z0-9_./-])([a-z0-9_.-]+):([0-9]{3,}|80)`)
})

// goesOn matches what goes on with the word in front of it.
var goesOn = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9_.-]`) })

// hosts are the words, in lower case, that a step has in the place of a host, or as the value of a variable for a host.
func (s *Step) hosts() map[string]bool {
	found := map[string]bool{}
	for _, text := range s.texts() {
		text = strings.ToLower(text)
		for _, place := range hostPlaces() {
			for _, match := range place.FindAllStringSubmatch(text, -1) {
				found[match[1]] = true
			}
		}
		for _, at := range portPlace().FindAllStringSubmatchIndex(text, -1) {
			end := at[5]
			if end-at[4] <= len("65535") && !goesOn().MatchString(text[end:]) {
				found[text[at[2]:at[3]]] = true
			}
		}
	}
	for i := range s.Environment {
		if v := &s.Environment[i]; hostVariable().MatchString(v.Name) {
			found[strings.ToLower(v.Value.Text)] = true
		}
	}
	return found
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

// CheckNetworks refuses steps that need a service on another network, ports that two publish at the
// same time and sysctls of namespaces that are not the step's own, as a plan does. For the first two,
// steps that name no network are on the host's. The error is
// an [Errors].
func (p *Pipeline) CheckNetworks() error {
	pl := &planner{pipeline: p}
	var all []placed
	add := func(written *Step, isService bool, needs []string) {
		step := &PlannedStep{Name: written.Name, Network: cmp.Or(written.Network, "host"), Names: written.Names, Advanced: written.Advanced,
			Detach: written.Detach, Serves: written.Serves, Needs: needs, DependsOn: written.DependsOn}
		all = append(all, placed{step, written, isService})
	}
	for i := range p.Services {
		add(&p.Services[i], true, nil)
	}
	needs := p.serviceNeeds()
	inOrder := !slices.ContainsFunc(p.Steps, func(s Step) bool { return len(s.DependsOn) > 0 })
	for i := range p.Steps {
		add(&p.Steps[i], false, needs.of(&p.Steps[i]))
		if inOrder && i > 0 {
			all[len(all)-1].DependsOn = []string{p.Steps[i-1].Name}
		}
	}
	pl.reachable(all)
	pl.portsApart(all)
	for _, p := range all {
		p.Network = p.written.Network // a step that names none may get one of its own from whoever runs it
	}
	pl.ownSysctls(all)
	return pl.errs.result()
}

func reachesHost(step *PlannedStep) bool {
	return slices.ContainsFunc(step.Names.ExtraHosts, func(h HostAddress) bool { return h.Address == container.HostGateway })
}
