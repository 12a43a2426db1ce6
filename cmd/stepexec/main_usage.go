package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/pipeline"
)

// knownCommand rejects arguments where a command is required, and suggests a command.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2 // letters, as cobra has it elsewhere
	hint := ""
	similar := []string{}
	if args[0] != "" { // with which every name begins
		similar = cmd.SuggestionsFor(args[0])
	}
	if native := peerCommand(args[0]); native != "" && !cmd.HasParent() {
		hint = "that is stepexec " + native + "; "
	} else if near := pipeline.DidYouMean(args[0], similar); near != "" { // for a typing error the nearest name is enough
		hint = strings.ReplaceAll(near, `"`, "") + " "
	} else if len(similar) == 1 {
		hint = "did you mean " + similar[0] + "? "
	} else if len(similar) > 1 {
		hint = "did you mean " + inWords(similar) + "? "
	}
	return fmt.Errorf("unknown command %q for %q (%ssee %s --help)", args[0], cmd.CommandPath(), hint, cmd.CommandPath())
}

// knownTopics makes help and completion reject what they do not know, which cobra's own do not.
func knownTopics(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.Args = func(_ *cobra.Command, args []string) error {
				if found, _, err := root.Find(args); len(args) > 0 && (err != nil || found == root) {
					return knownCommand(root, args[:1])
				}
				return nil
			}
		case "completion":
			cmd.Args = knownCommand
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
}

// peerCommand returns the command that does what a command of docker, act or another tool does, or ""
// if there is none.
func peerCommand(name string) string {
	switch name {
	case "exec", "attach", "sh", "bash":
		return "shell"
	case "start", "up", "test", "build", "trigger":
		return "run"
	case "kill", "cancel", "down":
		return "stop"
	case "status", "top":
		return "ps"
	case "ls", "list", "runs":
		return "history"
	case "lint", "check":
		return "validate"
	case "log", "tail":
		return "logs"
	case "inspect", "plan", "graph":
		return "explain"
	case "clean", "cleanup":
		return "prune"
	case "web", "serve", "server", "dashboard":
		return "ui"
	case "agent", "worker":
		return "runner"
	case "import", "migrate":
		return "convert"
	}
	return ""
}

// similarFlag returns a hint at the flag that was meant by an unknown one.
func similarFlag(cmd *cobra.Command, err error) string {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return ""
	}
	if letters := unknown.GetSpecifiedShortnames(); len(letters) > 1 && cmd.Flags().Lookup(letters) != nil {
		return "did you mean --" + letters + "? " // -rm
	}
	if len(unknown.GetSpecifiedName()) < 2 {
		return ""
	}
	if inSingleLetters(cmd, unknown.GetSpecifiedName()) {
		return "did you mean -" + unknown.GetSpecifiedName() + "? " // --it
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	hint := pipeline.DidYouMean(unknown.GetSpecifiedName(), names)
	if hint == "" {
		return beginning(unknown.GetSpecifiedName(), names)
	}
	return strings.Replace(strings.ReplaceAll(hint, `"`, ""), "mean ", "mean --", 1) + " "
}

// inSingleLetters reports whether every letter of a name is a flag of one letter.
func inSingleLetters(cmd *cobra.Command, name string) bool {
	for _, letter := range name {
		if cmd.Flags().ShorthandLookup(string(letter)) == nil {
			return false
		}
	}
	return true
}

// beginning returns a hint at the flags that begin with a name and a hyphen.
func beginning(name string, flags []string) string {
	var found []string
	for _, flag := range flags {
		if strings.HasPrefix(flag, name+"-") {
			found = append(found, "--"+flag)
		}
	}
	switch len(found) {
	case 1:
		return "did you mean " + found[0] + "? "
	case 2, 3:
		return "did you mean " + inWords(found) + "? "
	}
	return ""
}

// plainFlagError rewords the errors of Go's parsers for flags whose value is not a valid number,
// duration or bool.
func plainFlagError(err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	flag, want := invalid.GetFlag(), ""
	var refusal refusal
	if errors.As(err, &refusal) {
		return fmt.Errorf("--%s: %w", flag.Name, refusal)
	}
	var number *strconv.NumError
	switch isNumber := errors.As(err, &number); {
	case flag.Value.Type() == "duration":
		want = "a time with its unit, such as 90s or 10m"
	case isNumber && number.Func == "ParseBool":
		want = "true or false"
	case isNumber && errors.Is(number.Err, strconv.ErrRange):
		want = "a smaller number"
	case isNumber:
		want = "a number"
	default:
		return err
	}
	return fmt.Errorf("--%s %s: must be %s", flag.Name, invalid.GetValue(), want)
}

// explainArguments makes errors about the number of arguments list the arguments.
func explainArguments(cmd *cobra.Command) {
	check := cmd.Args
	if check == nil {
		return
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		if err == nil || cmd.HasSubCommands() {
			return err
		}
		usage := strings.TrimSuffix(cmd.UseLine(), " [flags]")
		return fmt.Errorf("%w (usage: %s; see %s --help)", plainArgumentsError(err, len(args)), usage, cmd.CommandPath())
	}
}

// plainArgumentsError rewords cobra's errors about the number of arguments. Others stay.
func plainArgumentsError(err error, got int) error {
	if !strings.Contains(err.Error(), "arg(s)") {
		return err
	}
	if got == 0 {
		return errors.New("an argument is missing")
	}
	if strings.Contains(err.Error(), "at least") {
		return fmt.Errorf("%s are too few", counted(got, "argument"))
	}
	return fmt.Errorf("%s: the number does not fit", counted(got, "argument"))
}

// counted is a number of things in words.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
