package pipeline

import (
	"fmt"
	"regexp"
	"strconv"
	"sync"

	"github.com/docker/go-units"
)

// limitsTogether checks limits that depend on each other.
func (p *parser) limitsTogether(v value, l *Limits) {
	for _, key := range []string{"cpu_quota", "cpu_period"} {
		other, given := v.get(key)
		if _, cpus := v.get("cpus"); given && cpus {
			p.misplaced(other, "cannot be combined with cpus", "cpus: 1.5 is a quota of 150000 in a period of 100000; remove one of the two")
		}
	}
	swap, given := v.get("memory_swap")
	switch {
	case !given || l.MemorySwap == 0:
	case l.Memory == 0:
		p.misplaced(swap, "needs memory", "it is the limit of memory and swap together")
	case l.MemorySwap > 0 && l.MemorySwap < l.Memory:
		p.wrong(swap, "is less than memory", "it is the limit of memory and swap together; the same value is no swap")
	}
}

const (
	minQuota  = 1000      // microseconds: the kernel's least quota and period
	maxPeriod = 1_000_000 // microseconds: the kernel's longest period

	// minMemory is what docker asks for: less does not hold the runtime itself.
	minMemory = 6 << 20
	minCPUs   = 0.01 // the kernel's smallest quota, 1 ms in 100 ms
	maxCPUs   = 1 << 20
)

// memoryForm is narrower than go-units, which would also take inf and 1e300.
var memoryForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[0-9]{1,15}(\.[0-9]{1,15})? ?([bB]|[kKmMgGtT]([iI]?[bB])?)?$`)
})

// memory reads a size that at least the runtime itself fits into.
func (p *parser) memory(v value) int64 {
	bytes := p.size(v)
	if bytes > 0 && bytes < minMemory {
		p.wrong(v, fmt.Sprintf("%q is too little memory", v.text), "the least is 6MiB; a bare number is bytes")
		return 0
	}
	return bytes
}

// size reads bytes, as docker does: k, m, g and t are powers of 1024.
func (p *parser) size(v value) int64 {
	if v.kind != textKind && v.kind != numberKind {
		p.wrongType(v, "an amount of memory")
		return 0
	}
	if !memoryForm().MatchString(v.text) {
		p.wrong(v, fmt.Sprintf("%q is not an amount of memory", v.text), "write it like 512MiB, 1g or a number of bytes")
		return 0
	}
	bytes, err := units.RAMInBytes(v.text)
	switch {
	case err != nil || bytes < 0 || bytes > 1<<60:
		p.wrong(v, fmt.Sprintf("%q is too much memory", v.text), "")
	case bytes == 0:
		p.wrong(v, fmt.Sprintf("%q is too little memory", v.text), "remove the key for no limit")
	default:
		return bytes
	}
	return 0
}

var cpusForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,9})?$`)
})

func (p *parser) cpus(v value) float64 {
	if v.kind != numberKind {
		p.wrongType(v, "a number")
		return 0
	}
	n, err := strconv.ParseFloat(v.text, 64)
	if err != nil || !cpusForm().MatchString(v.text) || n < minCPUs || n > maxCPUs {
		p.wrong(v, fmt.Sprintf("%s is not a number of CPUs", v.text), "write it like 2 or 0.5; the least is 0.01")
		return 0
	}
	return n
}

// whole reads a whole number, in decimal digits.
func (p *parser) whole(v value, least, most int64) int64 {
	if v.kind != numberKind {
		p.wrongType(v, "a number")
		return 0
	}
	n, err := strconv.ParseInt(v.text, 10, 64)
	if err != nil || n < least || n > most || v.text != strconv.FormatInt(n, 10) { // YAML would take 010 for octal
		p.wrong(v, fmt.Sprintf("must be a whole number from %d to %d, not %s", least, most, v.text), "")
		return 0
	}
	return n
}

// memorySwap reads a size, or -1.
func (p *parser) memorySwap(v value) int64 {
	if v.scalar() && (v.text == "-1" || v.text == unlimited) {
		return -1
	}
	return p.size(v)
}

var cpusetForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*$`)
})

// cpuset reads a list in the kernel's form. A single number is one of YAML's.
func (p *parser) cpuset(v value) string {
	if v.kind != textKind && v.kind != numberKind {
		p.wrongType(v, "a string")
		return ""
	}
	if !cpusetForm().MatchString(v.text) {
		p.wrong(v, fmt.Sprintf("%q is not a list of numbers", v.text), `write it like "0-3,8"`)
		return ""
	}
	return v.text
}
