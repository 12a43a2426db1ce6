package sandbox

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"tags.cncf.io/container-device-interface/pkg/cdi"
)

// injectCDI adds the nodes, mounts, variables and hooks that the host's CDI specifications define
// for the named devices. The specifications in /etc/cdi and /var/run/cdi belong to the host's
// administrator. https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md
func injectCDI(spec *specs.Spec, dirs, names []string) error {
	if len(names) == 0 {
		return nil
	}
	options := []cdi.Option{cdi.WithAutoRefresh(false)}
	if dirs != nil {
		options = append(options, cdi.WithSpecDirs(dirs...))
	}
	cache, err := cdi.NewCache(options...)
	if err != nil {
		return fmt.Errorf("read CDI specifications: %w", err)
	}
	unknown, err := cache.InjectDevices(spec, names...)
	if len(unknown) > 0 {
		return unknownCDI(cache, unknown)
	}
	if err != nil {
		return fmt.Errorf("CDI devices %s: %w", strings.Join(names, ", "), err)
	}
	return nil
}

// unknownCDI lists the known devices, and the files that could not be read: a missing device is
// often in one of those.
func unknownCDI(cache *cdi.Cache, unknown []string) error {
	there := "this host describes none; see /etc/cdi, and nvidia-ctk cdi generate for NVIDIA's"
	if list := cache.ListDevices(); len(list) > 0 {
		there = "there are " + strings.Join(list, ", ")
	}
	failed := []error{fmt.Errorf("CDI device %s: no such device (%s)", strings.Join(unknown, ", "), there)}
	errs := cache.GetErrors()
	for _, file := range slices.Sorted(maps.Keys(errs)) {
		failed = append(failed, fmt.Errorf("CDI specification %s: %w", file, errors.Join(errs[file]...)))
	}
	return errors.Join(failed...)
}
