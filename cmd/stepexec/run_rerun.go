package main

import "github.com/spf13/pflag"

// rerunFlags make a run continue where an earlier one of the same file stopped, with its workspace.
type rerunFlags struct {
	from   []string
	failed bool
}

func (f *rerunFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.from, "from", nil, "begin at this `STEP` (may be repeated): what it depends on counts as done in the last run")
	flags.BoolVar(&f.failed, "failed", false, "run what failed in the last run, and what comes after it or did not run")
}
