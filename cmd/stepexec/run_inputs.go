package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
)

// variables turns NAME[=VALUE] into NAME=VALUE; a NAME alone takes its value from the environment,
// where it must exist.
func variables(flag string, list []string) ([]string, error) {
	var out []string
	for _, item := range list {
		name, value, given := strings.Cut(item, "=")
		if !given {
			var ok bool
			if value, ok = os.LookupEnv(name); !ok {
				return nil, fmt.Errorf("%s %s: no such variable in the environment (set it, or give a value: %s %s=VALUE)", flag, name, flag, name)
			}
		}
		if name == "" {
			// The value is not printed: it may be a secret.
			return nil, fmt.Errorf("%s: the name is missing in front of the =", flag)
		}
		out = append(out, name+"="+value)
	}
	return out, nil
}

// envFlags returns the variables of step's --env. As with docker, a NAME alone that the environment
// does not have is left out, with a message.
func envFlags(list []string, say func(line string)) ([]string, error) {
	var set []string
	for _, item := range list {
		if _, ok := os.LookupEnv(item); !ok && item != "" && !strings.Contains(item, "=") {
			say(fmt.Sprintf("--env %s: left out, for the environment has no such variable", item))
			continue
		}
		set = append(set, item)
	}
	return variables("--env", set)
}

// secretSources are where secrets come from. Later ones take precedence.
type secretSources struct {
	files    []string // of --secret-file
	list     []string // NAME[=VALUE] or NAME=cmd:COMMAND
	literals []string // NAME[=VALUE], whatever VALUE begins with
}

// secretValues returns the secrets of some sources. The commands among them run unless it is for a
// preview.
func secretValues(ctx context.Context, from secretSources, preview bool) (map[string]string, error) {
	secrets := map[string]string{}
	var all []string
	for _, file := range from.files {
		entries, err := pipeline.ReadSecretFile(file)
		if err != nil {
			return nil, fmt.Errorf("--secret-file: %w", err)
		}
		all = append(all, entries...)
	}
	list, err := secretsFromCommands(ctx, from.list, preview)
	if err != nil {
		return nil, err
	}
	given, err := variables("--secret", append(list, from.literals...))
	if err != nil {
		return nil, err
	}
	for _, entry := range append(all, given...) {
		name, value, _ := strings.Cut(entry, "=")
		secrets[name] = value
	}
	return secrets, nil
}

// envLines returns the variables of files in the form of docker's --env-file. Like docker, it
// leaves out variables that the host does not have, and reports them with say.
func envLines(files []string, say func(line string)) ([]string, error) {
	var all []string
	for _, file := range files {
		entries, unset, err := pipeline.ReadEnvLines(file, os.LookupEnv)
		if err != nil {
			return nil, fmt.Errorf("--env-file: %w", err)
		}
		for _, name := range unset {
			say(fmt.Sprintf("--env-file %s: %s is left out, for the environment has no such variable", file, name))
		}
		all = append(all, entries...)
	}
	return all, nil
}
