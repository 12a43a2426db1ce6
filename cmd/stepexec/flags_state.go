package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/rootless"
)

// addRoot adds the flag for the folder in which stepexec keeps its state.
func addRoot(flags *pflag.FlagSet, root *string) {
	flags.StringVar(root, "root", defaultRoot(), "state `directory`, which holds layers, image records and runs")
}

// addRuntime adds the flag for the program that runs containers.
func addRuntime(flags *pflag.FlagSet, runtime *string) {
	flags.StringVar(runtime, "runtime", "runc", "OCI runtime, by `NAME` or path")
}

// addRuntimeRoot adds the flag for the folder in which the runtime keeps its state.
func addRuntimeRoot(flags *pflag.FlagSet, root *string) {
	flags.StringVar(root, "runtime-root", "", "keep the runtime's state in `directory`, where other programs can see it (default: in memory that only stepexec can read)")
}

// addSystemdCgroup adds the flag for machines where only systemd may create cgroups.
func addSystemdCgroup(flags *pflag.FlagSet, systemd *bool) {
	flags.BoolVar(systemd, "systemd-cgroup", false, "let systemd create the cgroups of containers")
}

// addNoPivot adds the flag for machines that run from a ramdisk.
func addNoPivot(flags *pflag.FlagSet, noPivot *bool) {
	flags.BoolVar(noPivot, "no-pivot", false, "use chroot instead of pivot_root, for machines whose own root is a ramdisk; weaker isolation")
}

func defaultRoot() string {
	if _, inside := rootless.Inside(); os.Geteuid() == 0 && !inside {
		return "/var/lib/stepexec"
	}
	if data := os.Getenv("XDG_DATA_HOME"); data != "" {
		return filepath.Join(data, "stepexec")
	}
	return filepath.Join(os.Getenv("HOME"), ".local", "share", "stepexec")
}

// otherRoot is a hint at the flag for a state directory that does not exist; "": it does.
func otherRoot(root string) string {
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		return ", which does not exist (--root names another state directory)"
	}
	return ""
}
