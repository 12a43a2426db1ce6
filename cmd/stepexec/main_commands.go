package main

import (
	"slices"

	"github.com/spf13/cobra"
)

// subcommand is one subcommand, built only when needed: building all of them, with their flags,
// takes longer than some of them run.
type subcommand struct {
	name string
	make func() *cobra.Command
}

// subcommands returns all subcommands, including those that the program itself calls. Closing kill
// ends the rest of all grace periods.
func subcommands(kill <-chan struct{}) []subcommand {
	stoppable := func(make func(<-chan struct{}) *cobra.Command) func() *cobra.Command {
		return func() *cobra.Command { return make(kill) }
	}
	rooted := func(make func() *cobra.Command) func() *cobra.Command {
		return func() *cobra.Command { return asRoot(make()) }
	}
	return []subcommand{
		{"actions-hook", newActionsHook},
		{"validate", newValidate},
		{"schema", newSchema},
		{"explain", newExplain},
		{"convert", newConvert},
		{"lock", newLock},
		{"verify-image", newVerifyImage},
		{"verify-provenance", newVerifyProvenance},
		{"doctor", newDoctor},
		{"version", newVersion},
		{"ps", newPs},
		{"stop", newStop},
		{"history", newHistory},
		{"logs", newLogs},
		{"report", newReport},
		{"artifacts", newArtifacts},
		{"ui", newUI},
		{"actions-run", rooted(stoppable(newActionsRun))},
		{"actions-job", rooted(newActionsJob)},
		{"run", rooted(stoppable(newRun))},
		{"demo", rooted(stoppable(newDemo))},
		{"shell", rooted(stoppable(newShell))},
		{"kept", rooted(newKept)},
		{"spec", rooted(newSpec)},
		{"pull", rooted(newPull)},
		{"load", rooted(newLoad)},
		{"images", rooted(newImages)},
		{"rmi", rooted(newRmi)},
		{"save", rooted(newSave)},
		{"prune", rooted(newPrune)},
		{"cache", newCache},
		{"gc", rooted(newGc)},
		{"verify", rooted(newVerify)},
		{"doctor-container", rooted(newDoctorContainer)},
		{"runner", stoppable(newRunner)},
		{"step", func() *cobra.Command { return detachable(asRoot(newStep(kill))) }},
		{"ctr-run", func() *cobra.Command { return detachable(asRoot(newCtrRun(kill))) }},
	}
}

// addSubcommands adds the subcommand that args begin with, or all of them: for help, for
// completion, and to suggest a name for a mistyped one.
func addSubcommands(root *cobra.Command, kill <-chan struct{}, args []string) {
	all := subcommands(kill)
	if i := slices.IndexFunc(all, func(s subcommand) bool { return s.name == firstOf(args) }); i >= 0 {
		all = all[i : i+1]
	}
	for _, s := range all {
		root.AddCommand(s.make())
	}
	addCompletions(root)
	if firstOf(args) == cobra.ShellCompRequestCmd {
		plainUsages(root)
	}
}
