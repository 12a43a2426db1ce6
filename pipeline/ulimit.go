package pipeline

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// unlimited is what prlimit(1) and ulimit call -1.
const unlimited = "unlimited"

// ulimitNames are the resources of setrlimit(2), as docker calls them.
var ulimitNames = []string{
	"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue",
	"nice", "nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack",
}

// UlimitNames returns the names of the limits of setrlimit(2) that a step can have.
func UlimitNames() []string { return slices.Clone(ulimitNames) }

// ulimits reads a map from names to N, soft:hard or {soft, hard}.
func (p *parser) ulimits(v value) []Ulimit {
	if v.kind != mapKind {
		p.wrongType(v, "a map")
		return nil
	}
	var ulimits []Ulimit
	for _, pair := range v.pairs {
		field := v.field(pair)
		if !slices.Contains(ulimitNames, pair.name) {
			p.misplaced(field, "unknown limit", didYouMean(pair.name, ulimitNames))
			continue
		}
		before := len(p.errs)
		u := p.ulimit(field)
		u.Name = pair.name
		if len(p.errs) == before && u.Hard != -1 && (u.Soft > u.Hard || u.Soft == -1) {
			p.wrong(field, "the soft limit is higher than the hard one", "")
		}
		ulimits = append(ulimits, u)
	}
	return ulimits
}

func (p *parser) ulimit(v value) Ulimit {
	if v.kind == mapKind {
		var u Ulimit
		p.object(v, fields{
			"soft": func(v value) { u.Soft = p.ulimitNumber(v, p.scalar(v)) },
			"hard": func(v value) { u.Hard = p.ulimitNumber(v, p.scalar(v)) },
		})
		for _, key := range []string{"soft", "hard"} {
			if _, given := v.get(key); !given {
				p.missing(v, key)
			}
		}
		return u
	}
	if v.kind != textKind && v.kind != numberKind {
		p.wrongType(v, "a number, soft:hard or a map")
		return Ulimit{}
	}
	soft, hard, both := strings.Cut(v.text, ":")
	if !both {
		hard = soft
	}
	u := Ulimit{Soft: p.ulimitNumber(v, soft)}
	if u.Hard = u.Soft; both {
		u.Hard = p.ulimitNumber(v, hard)
	}
	return u
}

func (p *parser) ulimitNumber(v value, text string) int64 {
	if text == unlimited || text == "-1" {
		return -1
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if v.scalar() && (err != nil || n < 0 || text != strconv.FormatInt(n, 10)) {
		p.wrong(v, fmt.Sprintf("%q is not a limit", text), "write a whole number, or unlimited")
		return 0
	}
	return n
}
