package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// cpuRange is the range from first to last, inclusive.
type cpuRange struct{ first, last int }

// parseCPUList parses a list such as 0-3,8 (cpuset(7)).
func parseCPUList(list string) ([]cpuRange, error) {
	var all []cpuRange
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, err := strconv.ParseUint(from, 10, 16)
		last, lastErr := strconv.ParseUint(to, 10, 16)
		if err != nil || lastErr != nil || first > last {
			return nil, fmt.Errorf("%q is not a list of numbers and ranges, such as 0-3,8", list)
		}
		all = append(all, cpuRange{int(first), int(last)})
	}
	return all, nil
}

// checkCpuset returns an error when a list names CPUs or nodes that the step's group cannot have.
// The runtime would only say "invalid argument".
func (h *Host) checkCpuset(setting, list, parent string) error {
	if list == "" {
		return nil
	}
	wanted, err := parseCPUList(list)
	if err != nil {
		return &LimitError{setting, err}
	}
	if err := h.controller(setting, "cpuset"); err != nil {
		return err
	}
	allowed, err := h.allowedIn(setting, parent)
	if err != nil {
		return err
	}
	there := map[int]bool{}
	ranges, err := parseCPUList(allowed)
	if err != nil {
		return fmt.Errorf("read this machine's %s: %w", setting, err)
	}
	for _, r := range ranges {
		for n := r.first; n <= r.last; n++ {
			there[n] = true
		}
	}
	for _, r := range wanted {
		for n := r.first; n <= r.last; n++ {
			if !there[n] {
				return &LimitError{setting, fmt.Errorf("%d is not among those that a step can have here (%s)", n, allowed)}
			}
		}
	}
	return nil
}

// allowedIn returns the CPUs or memory nodes of the parent of the step's group, or of the nearest
// existing group above it.
func (h *Host) allowedIn(setting, parent string) (string, error) {
	kind := strings.TrimPrefix(setting, "cpuset_")
	tree, _ := controlledBy(h.cgroups, "cpuset")
	name := "cpuset.effective_" + kind
	if tree.unified {
		name = "cpuset." + kind + ".effective"
	}
	if h.systemd {
		parent = "/"
	}
	for path := filepath.Join("/", parent); ; path = filepath.Dir(path) {
		text, err := os.ReadFile(filepath.Join(tree.mountpoint, path, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if list := strings.TrimSpace(string(text)); list != "" {
			return list, nil
		}
		if path == "/" {
			break
		}
	}
	online := "/sys/devices/system/cpu/online"
	if kind == "mems" {
		online = "/sys/devices/system/node/online"
	}
	text, err := os.ReadFile(online)
	if errors.Is(err, os.ErrNotExist) {
		return "0", nil // a kernel without NUMA
	}
	return strings.TrimSpace(string(text)), err
}
