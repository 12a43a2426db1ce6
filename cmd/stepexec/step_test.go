package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestStepDocumentHasEveryFlag(t *testing.T) {
	document, err := os.ReadFile("../../docs/step.md")
	if err != nil {
		t.Fatal(err)
	}
	newStep(nil).Flags().VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(string(document), "`--"+f.Name) {
			t.Errorf("docs/step.md does not have the flag --%s", f.Name)
		}
	})
}

// TestEveryFlagOfCtrRunIsKnown asks the installed ctr for its flags: each is
// accepted, or refused with a reason, and docs/step.md says which.
func TestEveryFlagOfCtrRunIsKnown(t *testing.T) {
	help, err := exec.Command("ctr", "run", "--help").Output()
	if err != nil {
		t.Fatalf("%v (ctr is in Debian's package containerd)", err)
	}
	document, err := os.ReadFile("../../docs/step.md")
	if err != nil {
		t.Fatal(err)
	}
	flags := newStep(nil).Flags()
	found := regexp.MustCompile(`(?m)^   --([a-z-]+)(?:, -(\w))?`).FindAllStringSubmatch(string(help), -1)
	if len(found) < 40 {
		t.Fatalf("found only %d flags in ctr's help", len(found))
	}
	for _, match := range found {
		flag := flags.Lookup(match[1])
		switch {
		case flag == nil:
			t.Errorf("--%s is unknown", match[1])
		case match[2] != "" && flag.Shorthand != match[2]:
			t.Errorf("--%s has the short form -%s, not -%s", match[1], flag.Shorthand, match[2])
		case !strings.Contains(string(document), "`--"+match[1]):
			t.Errorf("docs/step.md does not have --%s", match[1])
		}
	}
}
