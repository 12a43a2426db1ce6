package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// version is set when a release is built: -ldflags "-X main.version=...".
var version = unreleased

const unreleased = "0.1.0-dev"

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Long:    "Print the version of stepexec, the commit and the Go release that it was built from.",
		Example: "  stepexec version",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), describeVersion())
			return err
		},
	}
}

// describeVersion returns the line that stepexec version prints.
func describeVersion() string {
	info, _ := debug.ReadBuildInfo()
	from := ""
	if revision := revisionOf(info); revision != "" {
		from = revision + ", "
	}
	return fmt.Sprintf("stepexec %s (%s%s %s/%s)", versionOf(version, info), from, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// programVersion returns the version of this program, without a v in front.
func programVersion() string {
	info, _ := debug.ReadBuildInfo()
	return versionOf(version, info)
}

// versionOf returns the version that a release was stamped with, otherwise that of the module which
// go install fetched. A build in a clone has no version of its own.
func versionOf(stamped string, info *debug.BuildInfo) string {
	if stamped != unreleased || info == nil || revisionOf(info) != "" {
		return stamped
	}
	if fetched := info.Main.Version; fetched != "" && fetched != "(devel)" {
		return strings.TrimPrefix(fetched, "v")
	}
	return stamped
}

// revisionOf returns the commit of the clone in which a program was built, or "" if that is not known.
func revisionOf(info *debug.BuildInfo) string {
	if info == nil {
		return ""
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			return setting.Value
		}
	}
	return ""
}
