package main

import (
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/stepexec/stepexec/policy"
)

// policyFlag is the policy that says what a pipeline may ask for.
type policyFlag struct{ name string }

func (f *policyFlag) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.name, "policy", "trusted", "limits on what the pipeline may ask for: trusted, untrusted, or a policy `FILE`")
}

// load returns the policy. To load a file with the name of a policy, write ./trusted.
func (f *policyFlag) load() (*policy.Policy, error) {
	switch f.name {
	case "trusted":
		return policy.Trusted(), nil
	case "untrusted":
		return policy.Untrusted(), nil
	}
	data, err := os.ReadFile(f.name)
	if err != nil {
		return nil, fmt.Errorf("--policy: %w", err)
	}
	return policy.Parse(f.name, data)
}
