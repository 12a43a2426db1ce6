package report_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The facts of two XML schemas, as of 2026, told in our own form:
//
//   - junit-10.xsd of Jenkins' xUnit plugin: github.com/jenkinsci/xunit-plugin, in
//     src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd. It describes whole files.
//   - surefire-test-report.xsd of Maven's Surefire: github.com/apache/maven-surefire, in
//     maven-surefire-plugin/src/site/resources/xsd. It describes a suite a file, and knows neither
//     timestamps nor errors of a suite, which Jenkins shows; so only its test cases are checked.
type junitElement struct {
	attributes []string // those that it may have; with ! those that it must have
	children   []string // those that it may have; with ? at most once
	ordered    bool     // in the order of children
	text       bool     // may have text
}

var jenkins = map[string]junitElement{
	"testsuites":   {attributes: []string{"name", "time", "tests", "failures", "errors"}, children: []string{"testsuite"}},
	"testsuite":    {attributes: []string{"name!", "tests!", "failures!", "errors!", "group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"}, children: []string{"testsuite", "properties", "testcase", "system-out", "system-err"}},
	"testcase":     {attributes: []string{"name!", "time", "classname", "group"}, children: []string{"skipped", "error", "failure", "rerunFailure", "rerunError", "flakyFailure", "flakyError", "system-out", "system-err"}},
	"failure":      {attributes: []string{"type", "message"}, text: true},
	"error":        {attributes: []string{"type", "message"}, text: true},
	"skipped":      {attributes: []string{"type", "message"}, text: true},
	"flakyFailure": {attributes: []string{"type!", "message"}, children: []string{"stackTrace?", "system-out?", "system-err?"}, ordered: true, text: true},
	"stackTrace":   {text: true},
	"system-out":   {text: true},
	"system-err":   {text: true},
}

var surefire = map[string]junitElement{
	"testcase":     {attributes: []string{"name!", "classname", "group", "time!"}, children: []string{"failure", "rerunFailure", "flakyFailure", "skipped?", "error?", "rerunError", "flakyError", "system-out?", "system-err?"}, ordered: true},
	"failure":      {attributes: []string{"type!", "message"}, text: true},
	"error":        {attributes: []string{"type!", "message"}, text: true},
	"skipped":      {attributes: []string{"message"}, text: true},
	"flakyFailure": {attributes: []string{"type!", "message"}, children: []string{"stackTrace?", "system-out?", "system-err?"}, ordered: true},
}

// junitTime is the pattern of both for times in seconds, without separators of thousands.
var junitTime = regexp.MustCompile(`^[0-9]+(\.[0-9]{0,3})?$`)

// checkJUnit checks a report against what both schemas say.
func checkJUnit(t *testing.T, report string) {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(report))
	type open struct {
		name     string
		children []string
	}
	var stack []open
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in:\n%s", err, report)
		}
		switch token := token.(type) {
		case xml.StartElement:
			name := token.Name.Local
			if len(stack) == 0 && name != "testsuites" {
				t.Errorf("begins with %s", name)
			}
			if _, ok := jenkins[name]; !ok {
				t.Errorf("unknown element %s", name)
			}
			if len(stack) > 0 {
				stack[len(stack)-1].children = append(stack[len(stack)-1].children, name)
			}
			for schema, elements := range map[string]map[string]junitElement{"Jenkins": jenkins, "Surefire": surefire} {
				if e, ok := elements[name]; ok {
					checkAttributes(t, schema, e, token)
				}
			}
			stack = append(stack, open{name: name})
		case xml.EndElement:
			last := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			for schema, elements := range map[string]map[string]junitElement{"Jenkins": jenkins, "Surefire": surefire} {
				if e, ok := elements[last.name]; ok {
					if err := e.checkChildren(last.children); err != nil {
						t.Errorf("%s: %s: %v", schema, last.name, err)
					}
				}
			}
		case xml.CharData:
			if len(stack) > 0 && strings.TrimSpace(string(token)) != "" && !jenkins[stack[len(stack)-1].name].text {
				t.Errorf("%s has text %q", stack[len(stack)-1].name, token)
			}
		}
	}
}

func checkAttributes(t *testing.T, schema string, e junitElement, element xml.StartElement) {
	t.Helper()
	has := map[string]bool{}
	for _, a := range element.Attr {
		has[a.Name.Local] = true
		if !slices.Contains(e.attributes, a.Name.Local) && !slices.Contains(e.attributes, a.Name.Local+"!") {
			t.Errorf("%s: %s has no attribute %s", schema, element.Name.Local, a.Name.Local)
		}
		if a.Name.Local == "time" && !junitTime.MatchString(a.Value) {
			t.Errorf("%s: time is %q", element.Name.Local, a.Value)
		}
	}
	for _, name := range e.attributes {
		if name, must := strings.CutSuffix(name, "!"); must && !has[name] {
			t.Errorf("%s: %s needs the attribute %s", schema, element.Name.Local, name)
		}
	}
}

func (e junitElement) checkChildren(children []string) error {
	at := 0
	count := map[string]int{}
	for _, child := range children {
		i := slices.IndexFunc(e.children, func(name string) bool { return strings.TrimSuffix(name, "?") == child })
		if i < 0 {
			return fmt.Errorf("%s must not be in it", child)
		}
		if count[child]++; count[child] > 1 && strings.HasSuffix(e.children[i], "?") {
			return fmt.Errorf("%s is in it twice", child)
		}
		if e.ordered && i < at {
			return fmt.Errorf("%s comes after %s", child, e.children[at])
		}
		at = i
	}
	return nil
}

// TestTheCheckOfJUnitFindsWhatServersReject keeps the check from accepting everything.
func TestTheCheckOfJUnitFindsWhatServersReject(t *testing.T) {
	for name, children := range map[string][]string{
		"unknown":     {"flake"},
		"order":       {"system-out", "failure"},
		"twice":       {"system-out", "system-out"},
		"error first": {"error", "skipped"},
	} {
		if err := surefire["testcase"].checkChildren(children); err == nil {
			t.Errorf("%s: %v is accepted", name, children)
		}
	}
}
