package main

import (
	"os"
	"regexp"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The files that run the image set variables that the runners look at.
func TestFilesOfTheImageSetKnownVariables(t *testing.T) {
	t.Setenv("WOODPECKER_AGENT_SECRET", "s")
	t.Setenv("WOODPECKER_AGENT_CONFIG_FILE", "")
	e := &environ{}
	_ = e.droneOptions()
	if _, err := e.woodpeckerOptions(); err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`\b(?:WOODPECKER|DRONE)_[A-Z_]+`)
	for _, file := range []string{"compose.yml", "daemonset.yml"} {
		data, err := os.ReadFile("../../contrib/image/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var document map[string]any
		if err := yaml.Unmarshal(data, &document); err != nil || len(document) == 0 {
			t.Errorf("%s: %v", file, err)
		}
		found := name.FindAllString(string(data), -1)
		if len(found) < 3 {
			t.Errorf("%s names %d variables", file, len(found))
		}
		for _, variable := range found {
			if _, known := e.asked[variable]; !known {
				t.Errorf("%s: no runner looks at %s", file, variable)
			}
		}
	}
}
