package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
)

// addRoot adds the flag that says where stepexec keeps its state.
func addRoot(flags *pflag.FlagSet, root *string) {
	flags.StringVar(root, "root", defaultRoot(), "state `directory`: layers, image records, runs")
}

// addRuntime adds the flag that says what runs containers.
func addRuntime(flags *pflag.FlagSet, runtime *string) {
	flags.StringVar(runtime, "runtime", "runc", "OCI runtime, `NAME` or path")
}

func defaultRoot() string {
	if os.Geteuid() == 0 {
		return "/var/lib/stepexec"
	}
	if data := os.Getenv("XDG_DATA_HOME"); data != "" {
		return filepath.Join(data, "stepexec")
	}
	return filepath.Join(os.Getenv("HOME"), ".local", "share", "stepexec")
}
