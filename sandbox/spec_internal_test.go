package sandbox

import (
	"slices"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestEntriesOfAnImageThatAreNoVariablesAreLeftOut(t *testing.T) {
	step := &Step{
		Config: ocispec.ImageConfig{Env: []string{"", "FOO", "=x", "A\x00=1", "A=a\x00b", "B=2", "C=", "D==3", "\ufffd"}},
		Env:    []string{"E=5"},
	}
	got := environment(step, "/root", "host")
	want := []string{"PATH=" + DefaultPath, "HOSTNAME=host", "HOME=/root", "B=2", "C=", "D==3", "E=5"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
