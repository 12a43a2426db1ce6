package pipeline

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/docker/go-units"
)

const (
	// minMemory is what docker asks for: less does not hold the runtime itself.
	minMemory = 6 << 20
	minCPUs   = 0.01 // the kernel's smallest quota, 1 ms in 100 ms
	maxCPUs   = 1 << 20
)

// memoryForm is narrower than go-units, which would also take inf and 1e300.
var memoryForm = regexp.MustCompile(`^[0-9]{1,15}(\.[0-9]{1,15})? ?([bB]|[kKmMgGtT]([iI]?[bB])?)?$`)

// memory reads bytes, as docker does: k, m, g and t are powers of 1024.
func (p *parser) memory(v value) int64 {
	if v.kind != textKind && v.kind != numberKind {
		p.wrongType(v, "an amount of memory")
		return 0
	}
	if !memoryForm.MatchString(v.text) {
		p.wrong(v, fmt.Sprintf("%q is not an amount of memory", v.text), "write it like 512MiB, 1g or a number of bytes")
		return 0
	}
	bytes, err := units.RAMInBytes(v.text)
	switch {
	case err != nil || bytes < 0 || bytes > 1<<60:
		p.wrong(v, fmt.Sprintf("%q is too much memory", v.text), "")
	case bytes < minMemory:
		p.wrong(v, fmt.Sprintf("%q is too little memory", v.text), "the least is 6MiB; a bare number is bytes")
	default:
		return bytes
	}
	return 0
}

var cpusForm = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,9})?$`)

func (p *parser) cpus(v value) float64 {
	if v.kind != numberKind {
		p.wrongType(v, "a number")
		return 0
	}
	n, err := strconv.ParseFloat(v.text, 64)
	if err != nil || !cpusForm.MatchString(v.text) || n < minCPUs || n > maxCPUs {
		p.wrong(v, fmt.Sprintf("%s is not a number of CPUs", v.text), "write it like 2 or 0.5; the least is 0.01")
		return 0
	}
	return n
}
