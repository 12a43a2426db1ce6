package sandbox

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ulimitNames maps the names that other tools use for ulimits to the resources of setrlimit(2).
func ulimitNames() map[string]int {
	return map[string]int{
		"as": unix.RLIMIT_AS, "core": unix.RLIMIT_CORE, "cpu": unix.RLIMIT_CPU, "data": unix.RLIMIT_DATA,
		"fsize": unix.RLIMIT_FSIZE, "locks": unix.RLIMIT_LOCKS, "memlock": unix.RLIMIT_MEMLOCK,
		"msgqueue": unix.RLIMIT_MSGQUEUE, "nice": unix.RLIMIT_NICE, "nofile": unix.RLIMIT_NOFILE,
		"nproc": unix.RLIMIT_NPROC, "rss": unix.RLIMIT_RSS, "rtprio": unix.RLIMIT_RTPRIO,
		"rttime": unix.RLIMIT_RTTIME, "sigpending": unix.RLIMIT_SIGPENDING, "stack": unix.RLIMIT_STACK,
	}
}

// rlimits converts a step's ulimits to the OCI spec's.
func (h *Host) rlimits(ulimits []Ulimit) ([]specs.POSIXRlimit, error) {
	var all []specs.POSIXRlimit
	var failed []error
	seen := map[string]bool{}
	for _, u := range ulimits {
		limit, err := h.rlimit(u)
		if err == nil && seen[u.Name] {
			err = errors.New("is set twice")
		}
		seen[u.Name] = true
		if err != nil {
			failed = append(failed, &LimitError{"ulimits: " + u.Name, err})
		}
		all = append(all, limit)
	}
	return all, errors.Join(failed...)
}

func (h *Host) rlimit(u Ulimit) (specs.POSIXRlimit, error) {
	resource, ok := ulimitNames()[u.Name]
	if !ok {
		return specs.POSIXRlimit{}, fmt.Errorf("there is no such limit (there are %s)", strings.Join(slices.Sorted(maps.Keys(ulimitNames())), ", "))
	}
	if u.Soft < -1 || u.Hard < -1 {
		return specs.POSIXRlimit{}, errors.New("must be a number, or -1 for unlimited")
	}
	soft, hard := uint64(u.Soft), uint64(u.Hard) // -1 becomes RLIM_INFINITY
	if soft > hard {
		return specs.POSIXRlimit{}, fmt.Errorf("its soft limit, %s, is above its hard one, %s", limitText(soft), limitText(hard))
	}
	own, err := ownHardLimit(resource)
	if err != nil {
		return specs.POSIXRlimit{}, err
	}
	if hard > own && !slices.Contains(h.capabilities, "CAP_SYS_RESOURCE") {
		return specs.POSIXRlimit{}, fmt.Errorf("%s is above stepexec's own hard limit, %s, which it lacks CAP_SYS_RESOURCE to raise (lower the step's, or raise that of the process that starts stepexec)", limitText(hard), limitText(own))
	}
	if resource == unix.RLIMIT_NOFILE {
		err = belowKernels(hard)
	}
	return specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(u.Name), Soft: soft, Hard: hard}, err
}

// belowKernels checks the limit that no capability lifts: files per process.
func belowKernels(files uint64) error {
	const name = "/proc/sys/fs/nr_open"
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	most, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if files > most {
		return fmt.Errorf("%s is above what the kernel takes, %d (sysctl fs.nr_open)", limitText(files), most)
	}
	return nil
}

func ownHardLimit(resource int) (uint64, error) {
	var own unix.Rlimit
	if err := unix.Getrlimit(resource, &own); err != nil {
		return 0, fmt.Errorf("read own limits: %w", err)
	}
	return own.Max, nil
}

func limitText(n uint64) string {
	if n == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return strconv.FormatUint(n, 10)
}
