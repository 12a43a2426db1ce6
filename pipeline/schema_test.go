package pipeline_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/stepexec/stepexec/pipeline"
)

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(pipeline.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("pipeline.schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("pipeline.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestSchemaIsAValidSchema(t *testing.T) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(pipeline.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	meta, err := jsonschema.NewCompiler().Compile("https://json-schema.org/draft/2020-12/schema")
	if err != nil {
		t.Fatal(err)
	}
	if err := meta.Validate(document); err != nil {
		t.Error(err)
	}
}

func TestSchemaAcceptsValidFiles(t *testing.T) {
	schema := compileSchema(t)
	for _, file := range fixtures(t, "valid") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			document, ok := pipeline.JSONValue(read(t, file))
			if !ok {
				t.Fatal("not YAML")
			}
			if err := schema.Validate(document); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEveryKeyHasAnExample(t *testing.T) {
	text := string(read(t, "testdata/valid/every-key.yml"))
	for _, key := range schemaKeys(t) {
		if !strings.Contains(text, key+":") {
			t.Errorf("the schema has the key %q, testdata/valid/every-key.yml has not", key)
		}
	}
}

func TestSchemaAndParserHaveTheSameKeys(t *testing.T) {
	var document struct {
		Properties map[string]any
		Defs       map[string]struct{ Properties map[string]any } `json:"$defs"`
	}
	if err := json.Unmarshal(pipeline.Schema(), &document); err != nil {
		t.Fatal(err)
	}
	step := slices.Concat(
		slices.Collect(maps.Keys(document.Defs["container"].Properties)),
		slices.Collect(maps.Keys(document.Defs["stepKeys"].Properties)),
	)
	slices.Sort(step)
	if got := pipeline.StepKeys(); !slices.Equal(got, step) {
		t.Errorf("keys of a step:\nParse  %q\nschema %q", got, step)
	}
	if got, want := pipeline.TopKeys(), slices.Sorted(maps.Keys(document.Properties)); !slices.Equal(got, want) {
		t.Errorf("keys of a pipeline:\nParse  %q\nschema %q", got, want)
	}
}

func TestReferenceDescribesEveryKey(t *testing.T) {
	reference := string(read(t, "../docs/pipeline.md"))
	for _, key := range schemaKeys(t) {
		if !strings.Contains(reference, "`"+key+"`") {
			t.Errorf("docs/pipeline.md does not describe the key %q", key)
		}
	}
}

func TestExamplesOfTheReferenceAreValid(t *testing.T) {
	schema := compileSchema(t)
	blocks := strings.Split(string(read(t, "../docs/pipeline.md")), "```yaml\n")[1:]
	if len(blocks) < 10 {
		t.Fatalf("only %d examples found", len(blocks))
	}
	for _, block := range blocks {
		example, _, _ := strings.Cut(block, "```")
		if _, err := pipeline.Parse("example.yml", []byte(example)); err != nil {
			t.Errorf("%v in\n%s", err, example)
			continue
		}
		if document, _ := pipeline.JSONValue([]byte(example)); schema.Validate(document) != nil {
			t.Errorf("the schema refuses\n%s", example)
		}
	}
}

// schemaKeys returns the names of all properties in the schema.
func schemaKeys(t *testing.T) []string {
	t.Helper()
	var document any
	if err := json.Unmarshal(pipeline.Schema(), &document); err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if properties, ok := v["properties"].(map[string]any); ok {
				for key := range properties {
					keys[key] = true
				}
			}
			for _, child := range v {
				walk(child)
			}
		case []any:
			for _, child := range v {
				walk(child)
			}
		}
	}
	walk(document)
	return slices.Sorted(maps.Keys(keys))
}

func fixtures(t *testing.T, folder string) []string {
	t.Helper()
	files, err := fixtureFiles(folder)
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures in %s: %v", folder, err)
	}
	return files
}

func fixtureFiles(folder string) ([]string, error) {
	return filepath.Glob(filepath.Join("testdata", folder, "*.yml"))
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
