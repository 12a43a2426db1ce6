package policy

import (
	"slices"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
)

// TestEveryKeyThatNeedsTrustHasARule fails for a key that is added to the table of keys
// with a class other than free, and that no policy has a say in.
func TestEveryKeyThatNeedsTrustHasARule(t *testing.T) {
	ruled := []string{"pid_file"} // --pid-file has no key in a file
	for _, rule := range rulesOfKeys() {
		ruled = append(ruled, rule.keys...)
	}
	keys := []string{"pid_file"}
	for _, key := range pipeline.Keys() {
		keys = append(keys, key.Name)
		if key.Class != pipeline.Free && !slices.Contains(ruled, key.Name) {
			t.Errorf("the key %s asks for a %s, and no rule holds it against the policy", key.Name, key.Class)
		}
	}
	for _, name := range ruled {
		if !slices.Contains(keys, name) {
			t.Errorf("there is a rule for %s, which is not a key of a step", name)
		}
	}
}
