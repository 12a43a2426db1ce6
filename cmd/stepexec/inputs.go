package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
)

// defaultFiles are where `run` and `validate` look without FILE.
func defaultFiles() []string { return []string{"pipeline.yml", "pipeline.yaml", ".stepexec.yml"} }

// findFile is the pipeline file that the arguments name, or the default one.
func findFile(args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	for _, name := range defaultFiles() {
		_, err := os.Stat(name)
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("no pipeline file: there is none of %s in the working directory (name one: stepexec run FILE)", strings.Join(defaultFiles(), ", "))
}

func parseFile(file string) (*pipeline.Pipeline, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read pipeline file: %w", err)
	}
	return pipeline.Parse(file, data)
}

// variables turns NAME[=VALUE] into NAME=VALUE; a NAME alone takes its value
// from the environment, where it must be.
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

// secretValues are the secrets of --secret-file and --secret; the latter win.
func (o *runOptions) secretValues() (map[string]string, error) {
	secrets := map[string]string{}
	var all []string
	for _, file := range o.secretFiles {
		entries, err := pipeline.ReadEnvFile(file)
		if err != nil {
			return nil, fmt.Errorf("--secret-file: %w", err)
		}
		all = append(all, entries...)
	}
	given, err := variables("--secret", o.secrets)
	if err != nil {
		return nil, err
	}
	for _, entry := range append(all, given...) {
		name, value, _ := strings.Cut(entry, "=")
		secrets[name] = value
	}
	return secrets, nil
}
