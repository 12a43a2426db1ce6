package policy_test

import (
	"testing"

	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
)

func TestAdmittedPlanHasOneMaskOfItsSecrets(t *testing.T) {
	admitted, err := policy.Trusted().Admit(&pipeline.Plan{Secrets: []string{"hunter22"}}, policy.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	mask := admitted.Mask()
	if got := mask.String("it is hunter22"); got != "it is ***" {
		t.Errorf("masked: %q", got)
	}
	if admitted.Mask() != mask {
		t.Error("the second call made another mask")
	}
}
