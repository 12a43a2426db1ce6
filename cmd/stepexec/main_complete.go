package main

import (
	"github.com/spf13/cobra"

	"github.com/stepexec/stepexec/record"
	"github.com/stepexec/stepexec/run"
	"github.com/stepexec/stepexec/unpack"
)

// completed returns the names for the shell to offer, without file names.
func completed(names []string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeSteps offers the steps of the pipeline file on the command line.
func completeSteps(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	file, err := run.FindFile(firstOf(args))
	if err != nil {
		return completed(nil)
	}
	p, err := run.ParseFile(file)
	if err != nil {
		return completed(nil)
	}
	var names []string
	for i := range p.Steps {
		names = append(names, p.Steps[i].Name)
	}
	return completed(names)
}

// completeRuns offers the runs that have a record and, after a run, its steps.
func completeRuns(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	root := cmd.Flag("root").Value.String()
	if len(args) > 0 {
		r, err := record.Find(root, args[0])
		if err != nil {
			return completed(nil)
		}
		return completed(stepNames(r))
	}
	var names []string
	for r, err := range record.NewestFirst(root) {
		if err == nil {
			names = append(names, r.Run+"\t"+r.Name)
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

// addCompletions adds shell completion of the commands' arguments.
func addCompletions(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "logs", "shell", "stop", "report":
			cmd.ValidArgsFunction = completeRuns
		case "pull", "save", "rmi", "step":
			cmd.ValidArgsFunction = completeImages
		}
		for _, flag := range []string{"only", "skip", "from"} {
			if cmd.Flag(flag) != nil {
				_ = cmd.RegisterFlagCompletionFunc(flag, completeSteps) // the flag exists
			}
		}
		explainArguments(cmd)
	}
}
