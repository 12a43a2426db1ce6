package main

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/record"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/unpack"
)

// completed returns the names for the shell to offer, without file names.
func completed(names []string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeSteps offers, as the value of a flag, the steps of the pipeline file on the command line.
func completeSteps(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 && namesStep(args[0]) {
		args = nil
	}
	return completed(stepsOf(firstOf(args)))
}

// completeFileAndSteps offers the arguments [FILE] [STEP...]: in place of FILE, the steps of the default
// file, and names of files where no step begins so; then the steps that are not there yet.
func completeFileAndSteps(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return stepsOf(""), cobra.ShellCompDirectiveDefault
	}
	file := args[0]
	if namesStep(file) {
		file = ""
	}
	return completed(slices.DeleteFunc(stepsOf(file), func(name string) bool { return slices.Contains(args, name) }))
}

// stepsOf returns the names of the steps of a pipeline file, "" for the default one; none if it cannot be read.
func stepsOf(file string) []string {
	file, err := run.FindFile(file)
	if err != nil {
		return nil
	}
	p, err := run.ParseFile(file)
	if err != nil {
		return nil
	}
	var names []string
	for i := range p.Steps {
		names = append(names, p.Steps[i].Name)
	}
	return names
}

// completeRuns offers the runs that have a record.
func completeRuns(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	names := []string{latest + "\tthe run that began last"}
	for r, err := range record.NewestFirst(cmd.Flag("root").Value.String()) {
		if err == nil && !slices.Contains(args, r.Run) {
			names = append(names, r.Run+"\t"+r.Name)
		}
	}
	if len(names) == 1 {
		return completed(nil)
	}
	return completed(names)
}

// completeRun offers the runs for an argument RUN, and nothing after it.
func completeRun(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return completed(nil)
	}
	return completeRuns(cmd, args, word)
}

// completeRunAndStep offers the runs and, after a run, its steps.
func completeRunAndStep(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return completeRuns(cmd, args, word)
	}
	r, err := findRecord(cmd.Flag("root").Value.String(), args[0])
	if err != nil || len(args) > 1 {
		return completed(nil)
	}
	return completed(stepNames(r))
}

// completeRunAndArtifacts offers the runs and, after a run, the names of its artifacts.
func completeRunAndArtifacts(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return completeRuns(cmd, args, word)
	}
	o := artifactsOptions{root: cmd.Flag("root").Value.String()}
	all, err := o.find(cmd.Context(), args[0], nil)
	if err != nil {
		return completed(nil)
	}
	var names []string
	for _, a := range all {
		if !slices.Contains(args[1:], a.Name) {
			names = append(names, a.Name)
		}
	}
	return completed(names)
}

// completeImages offers the images of the store.
func completeImages(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	store, err := unpack.OpenStore(cmd.Flag("root").Value.String())
	if err != nil {
		return completed(nil)
	}
	defer store.Close()
	images, _ := store.Usage() // sizes are cached, so this is cheap
	var names []string
	for _, i := range images {
		names = append(names, i.Reference)
	}
	return completed(names)
}

// completeArguments returns what offers the arguments of a command, or nil for names of files.
func completeArguments(command string) cobra.CompletionFunc {
	switch command {
	case "run", "explain", "spec":
		return completeFileAndSteps
	case "logs", "shell":
		return completeRunAndStep
	case "stop":
		return completeRun
	case "report":
		return completeRuns
	case "artifacts":
		return completeRunAndArtifacts
	case "pull", "save", "rmi", "step", "verify-image":
		return completeImages
	}
	return nil
}

// addCompletions adds shell completion of the commands' arguments, and of flags that name steps.
func addCompletions(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		if arguments := completeArguments(cmd.Name()); arguments != nil {
			cmd.ValidArgsFunction = arguments
		}
		for _, flag := range []string{"only", "skip", "from", "shell-before", "shell-after"} {
			if cmd.Flag(flag) != nil {
				_ = cmd.RegisterFlagCompletionFunc(flag, completeSteps) // the flag exists
			}
		}
		explainArguments(cmd)
	}
}

// plainUsages takes out the quotes that mark the names of values in the flags' usages, which only help and
// manual pages understand.
func plainUsages(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		cmd.Flags().VisitAll(func(f *pflag.Flag) { _, f.Usage = pflag.UnquoteUsage(f) })
		plainUsages(cmd)
	}
}
