package pipeline_test

import (
	"encoding/json"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
)

// TestEveryKeyOfTheSchemaHasADescription looks at all properties, which editors explain by their description.
func TestEveryKeyOfTheSchemaHasADescription(t *testing.T) {
	var document any
	if err := json.Unmarshal(pipeline.Schema(), &document); err != nil {
		t.Fatal(err)
	}
	keys := 0
	var walk func(path string, node any)
	walk = func(path string, node any) {
		switch node := node.(type) {
		case []any:
			for _, item := range node {
				walk(path, item)
			}
		case map[string]any:
			properties, _ := node["properties"].(map[string]any)
			for name, value := range properties {
				keys++
				if key, ok := value.(map[string]any); ok && key["description"] == nil && key["$ref"] == nil && key["const"] == nil {
					t.Errorf("%s.%s has no description", path, name)
				}
			}
			for name, value := range node {
				if name != "properties" {
					walk(path+"/"+name, value)
					continue
				}
				for key, inside := range properties {
					walk(path+"."+key, inside)
				}
			}
		}
	}
	walk("", document)
	if keys < 50 {
		t.Errorf("%d keys were looked at", keys)
	}
}
