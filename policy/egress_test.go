package policy_test

import (
	"testing"

	"github.com/stepexec/stepexec/egress"
	"github.com/stepexec/stepexec/pipeline"
	"github.com/stepexec/stepexec/policy"
)

func TestEgressListOfAPipelineUnderAPolicy(t *testing.T) {
	const open, limited = "networks: [private]\n", "networks: [private]\negress: [\"*.example.com:443\", 10.0.0.0/8, 169.254.169.254:80]\n"
	for _, test := range []struct {
		policy, entry string
		allowed       bool
	}{
		{open, "api.example.com", true},
		{open, "10.0.0.0/8", true},
		{open, "0.0.0.0/0:443", true},
		{open, "169.254.169.254", false},
		{open, "169.254.0.0/16", false},
		{open, "169.254.1.0/24:80", false},
		{open, "100.100.100.200:80", false},
		{open, "168.63.129.16", false},
		{open, "fd00:ec2::254", false},
		{open, "[fd20:ce::254]:80", false},
		{open, "127.0.0.1", false},
		{open, "fe80::1", false},
		{limited, "api.example.com:443", true},
		{limited, "*.api.example.com:443", true},
		{limited, "api.example.com", false},
		{limited, "example.com:443", false},
		{limited, "10.1.0.0/16:5432", true},
		{limited, "0.0.0.0/0", false},
		{limited, "169.254.169.254:80", true},
		{limited, "169.254.169.254", false},
	} {
		rule, err := egress.Parse(test.entry)
		if err != nil {
			t.Fatal(err)
		}
		step := pipeline.PlannedStep{Name: "a", Image: "alpine", Network: "private", Egress: egress.Rules{Mode: egress.Deny, List: egress.List{rule}}}
		if _, err := admit(parse(t, test.policy), step, ""); (err == nil) != test.allowed {
			t.Errorf("%s under %q: %v", test.entry, test.policy, err)
		}
	}
	step := pipeline.PlannedStep{Name: "a", Image: "alpine", Network: "private"}
	if got, err := admit(parse(t, limited), step, ""); err != nil || got.Egress.Mode != egress.Deny || len(got.Egress.List) != 3 {
		t.Errorf("a step without a list: %+v, %v", got.Egress, err)
	}
	if _, err := admit(policy.Untrusted(), pipeline.PlannedStep{Name: "a", Image: "alpine", Network: "private", Egress: egress.Rules{Mode: egress.Deny, List: egress.List{}}}, ""); err != nil {
		t.Errorf("an empty list: %v", err)
	}
}
