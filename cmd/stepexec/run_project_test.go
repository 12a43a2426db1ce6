package main

import "testing"

func TestProjectFlagsAreFlagsOfRun(t *testing.T) {
	flags := newRun(nil).Flags()
	for _, name := range projectFlags() {
		if flags.Lookup(name) == nil {
			t.Errorf("run has no flag --%s", name)
		}
	}
}
