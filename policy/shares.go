package policy

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/pipeline"
)

// The kernel's weights of a step that asks for none (cgroups(7), docs of cgroup v2).
const (
	usualShares   = 1024
	usualIOWeight = 100
)

// weights bounds the weights by which steps share the machine. A step that asks for none keeps the
// kernel's, unless that is more than the ceiling.
func (c *check) weights() {
	l, most := &c.step.Limits, &c.rules.limits
	if l.CPUShares != 0 || most.cpuShares < usualShares {
		bound(c, "cpu_shares", &l.CPUShares, most.cpuShares, numberOf)
	}
	if l.IOWeight != 0 || most.ioWeight < usualIOWeight {
		bound(c, "io_weight", &l.IOWeight, most.ioWeight, numberOf)
	}
}

// cpuset bounds a list of CPUs or memory nodes. A step that asks for none gets those of the ceiling.
func (c *check) cpuset(key string, asked *string, most string) {
	switch {
	case most == "":
	case *asked == "":
		*asked = most
	case !isWithin(*asked, most):
		c.exceeds(key, *asked, most)
	}
}

// maxCpuset bounds the numbers in a list: more than any machine has.
const maxCpuset = 1 << 13

// isWithin reports whether a list such as 0-3,8 has no number that another lacks.
func isWithin(list, of string) bool {
	asked, ok := members(list)
	most, valid := members(of)
	if !ok || !valid {
		return false
	}
	for number := range asked {
		if !most[number] {
			return false
		}
	}
	return true
}

// members returns the numbers of a list such as 0-3,8.
func members(list string) (numbers map[int]bool, ok bool) {
	numbers = map[int]bool{}
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, err := strconv.ParseUint(from, 10, 16)
		last, lastErr := strconv.ParseUint(to, 10, 16)
		if err != nil || lastErr != nil || first > last || last >= maxCpuset {
			return nil, false
		}
		for number := first; number <= last; number++ {
			numbers[int(number)] = true
		}
	}
	return numbers, true
}

// ulimits bounds the limits of setrlimit(2) that a step asks for: the kernel would let the runtime,
// which is root, raise any of them.
func (c *check) ulimits() {
	for _, asked := range c.step.Limits.Ulimits {
		most, bounded := c.rules.limits.ulimits[asked.Name]
		if !bounded || most == unlimited {
			continue
		}
		if asked.Hard == unlimited || asked.Hard > most || asked.Soft > most {
			c.exceeds("ulimits", asked.Name+"="+ulimitOf(asked.Hard), asked.Name+"="+ulimitOf(most))
		}
	}
}

// unlimited is a limit of setrlimit(2) that is none.
const unlimited = -1

func ulimitOf(n int64) string {
	if n == unlimited {
		return "unlimited"
	}
	return numberOf(n)
}

// weight reads the ceiling of a weight.
func (r *reader) weight(to *int64, least, most int64) func(string, *yaml.Node) {
	return func(key string, n *yaml.Node) {
		if err := n.Decode(to); err != nil || *to < least || *to > most {
			r.fail(n, key, fmt.Sprintf("must be a number from %d to %d", least, most), "")
		}
	}
}

// cpuset reads a list of numbers.
func (r *reader) cpuset(to *string) func(string, *yaml.Node) {
	return func(key string, n *yaml.Node) {
		if _, ok := members(n.Value); !ok {
			r.fail(n, key, `must be a list of numbers such as "0-3,8"`, "")
		}
		*to = n.Value
	}
}

// ulimits reads the highest hard limits, by the names that pipelines have for them.
func (r *reader) ulimits(_ string, n *yaml.Node) {
	l := &r.policy.rules.limits
	l.ulimits = map[string]int64{}
	known := map[string]func(string, *yaml.Node){}
	for _, name := range pipeline.UlimitNames() {
		known[name] = func(key string, n *yaml.Node) {
			if n.Value == "unlimited" {
				l.ulimits[name] = unlimited
				return
			}
			most, err := strconv.ParseInt(n.Value, 10, 64)
			if err != nil || most < 0 {
				r.fail(n, key, "must be a number, or unlimited", "")
			}
			l.ulimits[name] = most
		}
	}
	r.mapping(n, known)
}
