package main

import (
	"os"
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
