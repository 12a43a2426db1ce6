package main

import (
	"fmt"
	"os"

	"github.com/stepexec/stepexec/egress"
)

// readEgress parses the value of --egress; with "" the file decides.
func readEgress(value string) (*egress.Rules, error) {
	switch egress.Mode(value) {
	case egress.Open:
		return nil, nil
	case egress.Audit, egress.Deny:
		return &egress.Rules{Mode: egress.Mode(value)}, nil
	}
	data, err := os.ReadFile(value)
	if err != nil {
		return nil, fmt.Errorf("--egress: %w (it takes audit, deny or the name of a file)", err)
	}
	list, err := egress.ParseText(data)
	if err != nil {
		return nil, fmt.Errorf("--egress %s: %w", value, err)
	}
	return &egress.Rules{Mode: egress.Deny, List: list}, nil
}
