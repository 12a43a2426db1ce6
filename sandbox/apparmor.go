package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// appArmorProfile checks that this host can confine a step with the profile, and returns the name
// to pass to the runtime. sys is the mount point of sysfs.
func appArmorProfile(name, sys string) (string, error) {
	if name == "" {
		return "", nil
	}
	enabled, err := os.ReadFile(filepath.Join(sys, "module/apparmor/parameters/enabled"))
	switch {
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("apparmor %s: %w", name, err)
	case strings.TrimSpace(string(enabled)) != "Y" && name == "unconfined":
		return "", nil // every process of such a host is unconfined
	case strings.TrimSpace(string(enabled)) != "Y":
		return "", fmt.Errorf("apparmor %s: this host's kernel runs without AppArmor (leave apparmor out, or boot with apparmor=1)", name)
	case name == "unconfined":
		return name, nil
	}
	profiles, err := os.ReadFile(filepath.Join(sys, "kernel/security/apparmor/profiles"))
	if err != nil {
		return "", fmt.Errorf("apparmor %s: list the loaded profiles: %w (mount -t securityfs securityfs /sys/kernel/security)", name, err)
	}
	for line := range strings.Lines(string(profiles)) {
		// Each line has a name followed by its mode in parentheses.
		if at := strings.LastIndex(line, " ("); at >= 0 && line[:at] == name {
			return name, nil
		}
	}
	return "", fmt.Errorf("apparmor %s: the profile is not loaded on this host (apparmor_parser -r FILE loads it; aa-status lists what is there)", name)
}
