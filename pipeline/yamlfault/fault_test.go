package yamlfault_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/stepexec/stepexec/pipeline/yamlfault"
)

// base is what each text of the table begins with, so that its own first line is the fourth.
const base = "steps:\n  - name: a\n    image: alpine\n"

var faults = []struct{ name, text, want string }{
	{"a list that is not closed at the end of the file", base + "    commands: [echo a, echo b\n", `4:15: the [ is not closed`},
	{"a list that is not closed before the next key", base + "    commands: [echo a, echo b\n    environment:\n      A: b\n", `4:15: the [ is not closed`},
	{"a map that is not closed before the next key", base + "    environment: {A: b, C: d\n    commands:\n      - x\n", `4:18: the { is not closed`},
	{"a map that is not closed at the end of the file", base + "    environment: {A: b, C: d\n", `4:18: the { is not closed`},
	{"a list in a map that is not closed", base + "    environment: {A: [b, C: d}\n    commands: [x]\n", `4:22: the [ is not closed before the } that follows`},
	{"a list closed as a map", base + "    commands: [a, b}\n", `4:15: the [ is not closed before the } that follows`},
	{"a map closed as a list", base + "    environment: {a: b]\n", `4:18: the { is not closed before the ] that follows`},
	{"a bracket too many", base + "    commands: [a, b]]\n", `4:21: the ] closes nothing`},
	{"a brace too many", base + "    environment: {a: b}}\n", `4:24: the } closes nothing`},
	{"a closing bracket alone", base + "    commands: ]\n", `4:15: the ] closes nothing`},
	{"items without a comma", base + "    commands: [\"a\" \"b\"]\n", `4:20: a comma is missing before this`},
	{"keys without a comma", base + "    environment: {A: \"b\" C: d}\n", `4:26: a comma is missing before this`},
	{"two commas", base + "    commands: [a,, b]\n", `4:18: nothing stands before the comma`},
	{"a comma first", base + "    commands: [, b]\n", `4:16: nothing stands before the comma`},
	{"a closing bracket in a comment", base + "    commands: [a, # one ]\n      b\n  - name: c\n", `4:15: the [ is not closed`},
	{"a list of several lines that is not closed", base + "    commands: [\n      a,\n      b,\n    environment:\n      A: b\n", `4:15: the [ is not closed`},
	{"a tab before an item", "steps:\n\t- name: a\n", `2:1: a tab indents this line`},
	{"a tab before a key", "steps:\n  - name: a\n\timage: b\n", `3:1: a tab indents this line`},
	{"a tab and spaces", base + "    environment:\n\t  A: b\n", `5:1: a tab indents this line`},
	{"a tab before the text of a block", base + "    commands: |\n\techo\n", `5:1: a tab indents this line`},
	{"a quote that is not closed", base + "    commands:\n      - \"echo a\n      - echo b\n", `5:9: the quote " is not closed`},
	{"a quote in a text of that quote", base + "    commands:\n      - 'echo it's'\n", `5:18: text follows the closing quote '`},
	{"double quotes in double quotes", base + "    commands:\n      - \"echo \"a\"\"\n", `5:16: text follows the closing quote "`},
	{"text behind a quote", base + "    commands:\n      - 'a' b\n", `5:13: text follows the closing quote '`},
	{"an unknown escape", base + "    commands:\n      - \"a\\q\"\n", `5:11: '\q' is not an escape in double quotes`},
	{"a quote that is not closed in a map", base + "    environment:\n      A: \"b\n      C: d\n", `5:10: the quote " is not closed`},
	{"an escape without its digits", base + "    environment:\n      A: \"\\xzz\"\n", `5:11: '\x' is not an escape in double quotes`},
	{"a key indented less", base + "   commands:\n      - a\n", `4:4: this line begins in column 4, but the lines it could belong to begin in column 3 or 5`},
	{"a key indented more", base + "     commands:\n      - a\n", `4:6: this line is indented deeper than the key above, which has a value already`},
	{"an item indented less", "steps:\n  - name: a\n    image: b\n - name: c\n   image: d\n", `4:2: this line begins in column 2, but the lines it could belong to begin in column 1 or 3`},
	{"an item between two columns", "steps:\n  - name: a\n    image: b\n   - name: c\n", `4:4: this line begins in column 4, but the lines it could belong to begin in column 3 or 5`},
	{"a key below a value", base + "    environment:\n      A: b\n       C: d\n", `6:8: this line is indented deeper than the key above, which has a value already`},
	{"a key between two columns", base + "    environment:\n      A: b\n     C: d\n", `6:6: this line begins in column 6, but the lines it could belong to begin in column 5 or 7`},
	{"a file whose first key is indented", "  name: a\nsteps:\n  - name: a\n", `2:1: this line is indented less than the first one of the file`},
	{"a key among items", base + "  commands:\n    - a\n", `4:3: this line stands among the items of a list, but has no -`},
	{"an alias without an anchor", base + "    commands: *nobody\n", `4:15: no anchor &nobody stands before the alias *nobody`},
	{"an anchor without a name", base + "    environment:\n      A: &\n", `5:10: an & begins the name of an anchor in YAML, of letters, digits, - and _`},
	{"a pattern taken for an alias", base + "    commands:\n      - *.go\n", `5:9: a * begins an alias in YAML, and no name follows it`},
	{"two anchors", base + "    environment:\n      A: &x &y b\n", `5:13: a value can have one anchor only`},
	{"a merge of nothing", base + "    environment:\n      <<: *missing\n", `5:11: no anchor &missing stands before the alias *missing`},
	{"a command that begins with &&", base + "    commands:\n      - &a\n      - && x\n", `6:9: an & begins the name of an anchor in YAML, of letters, digits, - and _`},
	{"an anchor behind its alias", "x: *later\nsteps: &later []\n", `1:4: no anchor &later stands before the alias *later`},
	{"an @ first", base + "    environment:\n      A: @foo\n", `5:10: a text without quotes cannot begin with @ in YAML`},
	{"a backtick first", base + "    commands:\n      - `date`\n", "5:9: a text without quotes cannot begin with ` in YAML"},
	{"a percent sign first", base + "    commands:\n      - %foo\n", `5:9: a text without quotes cannot begin with % in YAML`},
	{"a directive alone", "%foo\nsteps: []\n", `1:1: a % at the beginning of a line begins a directive of YAML, and the line --- must follow it`},
	{"a tag that is not closed", base + "    commands:\n      - !<foo\n", `5:9: a ! begins a tag in YAML, and '!<foo' is not one`},
	{"a tag with an unknown handle", base + "    commands:\n      - !a!b c\n", `5:9: a ! begins a tag in YAML, and '!a!b' is not one`},
	{"text behind |", base + "    commands: |x\n      a\n", `4:15: a | begins a text on the lines below, and something follows it`},
	{"a command that begins with |", base + "    commands:\n      - | echo\n        a\n", `5:9: a | begins a text on the lines below, and something follows it`},
	{"a text indented less than its first line", base + "    commands: |\n        a\n      b\n    x\n", `6:7: this line begins in column 7, but the text above it begins in column 9`},
	{"a command that begins with >", base + "    commands:\n      - > out\n", `5:9: a > begins a text on the lines below, and something follows it`},
	{"two colons", base + "    commands:\n      - echo a: b: c\n", `5:18: this is a second colon with a space, or the end of the line, after it`},
	{"a key without a colon before a list", "steps\n  - name: a\n", `1:1: the key steps has no colon after it`},
	{"a key without a colon in an item", "steps:\n  - name a\n    image: b\n", `2:5: the key name has no colon after it`},
	{"an equals sign for a colon", base + "    environment:\n      A=b\n      C: d\n", `5:7: the key has no colon and space after it`},
	{"a key without a colon", base + "    environment:\n      C: d\n      A b\n", `6:7: the key A has no colon after it`},
	{"a command that begins with a comma", base + "    commands:\n      - , a\n", `5:9: a text without quotes cannot begin with , in YAML`},
	{"an item without a space", base + "    commands:\n      - a\n      -b\n", `6:8: a space is missing after the -`},
	{"a key among the items of a list", base + "    commands:\n      - a\n      b: c\n", `6:7: this line stands among the items of a list, but has no -`},
	{"an item among the keys of a map", base + "    commands:\n      a: c\n      - b\n", `6:7: this item of a list stands among the keys of a map`},
	{"a list behind its key", base + "    commands: - a\n", `4:15: a list cannot begin here`},
	{"text behind the end of the document", base + "...\nfoo\n", `5:1: text follows the ... that ends the document`},
	{"JSON that is not closed", "{\"steps\": [{\"name\": \"a\", \"image\": \"b\",}]\n", `1:1: the { is not closed`},
	{"JSON without a comma", "{\"steps\": [{\"name\": \"a\" \"image\": \"b\"}]}\n", `1:25: a comma is missing before this`},
	{"JSON with a brace too many", "{\"steps\": [{\"name\": \"a\", \"image\": \"b\"}]}}\n", `1:41: the } closes nothing`},
	{"JSON with a list that is not closed", "{\"steps\": [{\"name\": \"a\", \"image\": \"b\"}}\n", `1:11: the [ is not closed before the } that follows`},
	{"a template first", base + "    commands:\n      - {{ foo }} bar\n", `5:9: a { begins a map in YAML, and text follows its }`},
	{"a template with text", base + "    image: {{ foo }}:1\n", `4:12: a { begins a map in YAML, and text follows its }`},
	{"lines that end as in Windows", "steps:\r\n  - name: a\r\n    image: alpine\r\n    commands: [a, b\r\n    x: y\r\n", `4:15: the [ is not closed`},
	{"columns in characters", base + "    commands: [é, ü\n    x: y\n", `4:15: the [ is not closed`},
	{"two colons in a map in braces", base + "    environment: {A: b: c}\n", `4:23: this is the second colon of one entry`},
	{"a colon first", base + "    environment:\n      : b\n", `5:7: nothing stands before the colon`},
	{"a key of two lines", base + "    \"a\n    b\": x\n", `4:5: the quote " is not closed`},
	{"a key that is too long", base + "    " + strings.Repeat("k", 1100) + ": x\n", `4:5: the key has more than 1024 characters`},
}

func TestEveryFaultHasAPlaceAndAReason(t *testing.T) {
	for _, test := range faults {
		t.Run(test.name, func(t *testing.T) {
			if err := decode([]byte(test.text)); err == nil {
				t.Error("the library takes it")
			}
			got := "nothing"
			if f := yamlfault.Find([]byte(test.text)); f != nil {
				got = fmt.Sprintf("%d:%d: %s", f.Line, f.Column, f.Message)
			}
			if got != test.want {
				t.Errorf("%s\ngot  %s\nwant %s", test.text, got, test.want)
			}
		})
	}
}

// decode reads all documents of a text as the library does.
func decode(data []byte) error {
	for d := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var node yaml.Node
		if err := d.Decode(&node); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// fixtures are the YAML files with which this program is tested.
func fixtures(t testing.TB) (files [][]byte) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, entry os.DirEntry, err error) error {
		if ext := filepath.Ext(path); err != nil || ext != ".yml" && ext != ".yaml" {
			return err
		}
		data, err := os.ReadFile(path)
		files = append(files, data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestNoFaultIsFoundInYAML(t *testing.T) {
	valid := 0
	for _, data := range fixtures(t) {
		if decode(data) != nil {
			continue
		}
		valid++
		if f := yamlfault.Find(data); f != nil {
			t.Errorf("%d:%d: %s\n%s", f.Line, f.Column, f.Message, data)
		}
	}
	if valid < 100 {
		t.Errorf("%d files only", valid)
	}
}

// FuzzFind: no text makes Find panic or run away, and a fault lies in the text.
// TestWhatFindDoesNotKnowHasTheWordsOfTheLibrary, and the line that the library means: it counts some
// from 0, and some lie behind the end.
func TestWhatFindDoesNotKnowHasTheWordsOfTheLibrary(t *testing.T) {
	const unknown = "? a\n: b\n  c\n"
	if f := yamlfault.Find([]byte(unknown)); f != nil {
		t.Fatalf("found %+v", f)
	}
	for _, test := range []struct {
		refusal string
		want    yamlfault.Fault
	}{
		{"yaml: line 2: mapping values are not allowed in this context", yamlfault.Fault{Line: 2, Column: 1, Message: "mapping values are not allowed in this context"}},
		{"yaml: line 2: did not find expected key", yamlfault.Fault{Line: 3, Column: 3, Message: "did not find expected key"}},
		{"yaml: line 9: found unknown escape character", yamlfault.Fault{Line: 3, Column: 3, Message: "found unknown escape character"}},
		{"yaml: invalid leading UTF-8 octet", yamlfault.Fault{Line: 1, Column: 1, Message: "invalid leading UTF-8 octet"}},
	} {
		if got := yamlfault.Explain([]byte(unknown), errors.New(test.refusal)); *got != test.want {
			t.Errorf("%s: %+v, want %+v", test.refusal, *got, test.want)
		}
	}
}

func FuzzFind(f *testing.F) {
	for _, test := range faults {
		f.Add([]byte(test.text))
	}
	for _, data := range fixtures(f) {
		if len(data) < 2048 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fault := yamlfault.Find(data)
		if fault == nil {
			return
		}
		lines := strings.Split(string(data), "\n")
		if fault.Message == "" || fault.Line < 1 || fault.Line > len(lines) || fault.Column < 1 || fault.Column > len(lines[fault.Line-1])+1 {
			t.Errorf("%+v in %q", fault, data)
		}
	})
}
