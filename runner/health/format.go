package health

import (
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

func sortedKeys(values map[string]float64) []string { return slices.Sorted(maps.Keys(values)) }

// quoted is a label's value as Prometheus takes it: only these three are escaped.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text) + `"`
}

// Memory is the resident memory of this process, as proc(5) has it in statm.
func Memory() Metric {
	value := 0.0
	if data, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := strings.Fields(string(data)); len(fields) > 1 {
			pages, _ := strconv.ParseFloat(fields[1], 64)
			value = pages * float64(os.Getpagesize())
		}
	}
	return One("process_resident_memory_bytes", "Resident memory of the runner itself.", Gauge, value)
}
