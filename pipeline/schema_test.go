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

// examples returns the blocks of YAML in a page.
func examples(t *testing.T, page string) []string {
	t.Helper()
	blocks := strings.Split(string(read(t, page)), "```yaml\n")[1:]
	for i := range blocks {
		blocks[i], _, _ = strings.Cut(blocks[i], "```")
	}
	return blocks
}

// isNative reports whether an example is a whole pipeline file: those of other CI systems have their
// name in their first line.
func isNative(example string) bool {
	foreign := strings.HasPrefix(example, "# .") || strings.HasPrefix(example, "kind:")
	return !foreign && (strings.HasPrefix(example, "steps:") || strings.Contains(example, "\nsteps:"))
}

// TestExamplesOfTheDocumentationAreValid checks the pipelines in all pages, and in the reference every
// example. Files that they include have the step lint.
func TestExamplesOfTheDocumentationAreValid(t *testing.T) {
	schema := compileSchema(t)
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	include := func(name string) ([]byte, error) {
		step := strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))
		return []byte("steps: [{name: " + step + ", image: x, commands: make}]"), nil
	}
	checked := map[string]int{}
	for _, page := range append(pages, "../README.md") {
		name := filepath.Base(page)
		for _, example := range examples(t, page) {
			if name != "pipeline.md" && (!isNative(example) || strings.Contains(name, "woodpecker") || strings.Contains(name, "drone")) {
				continue
			}
			checked[name]++
			if _, err := pipeline.ParseIncluding(name, []byte(example), include); err != nil {
				t.Errorf("%v in\n%s", err, example)
				continue
			}
			if document, _ := pipeline.JSONValue([]byte(example)); schema.Validate(document) != nil {
				t.Errorf("%s: the schema refuses\n%s", name, example)
			}
		}
	}
	for page, least := range map[string]int{"pipeline.md": 10, "README.md": 1} {
		if checked[page] < least {
			t.Errorf("%s: found %d examples, want %d at least", page, checked[page], least)
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
