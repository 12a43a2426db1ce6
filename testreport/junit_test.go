package testreport_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/testreport"
)

func TestReportsOfTools(t *testing.T) {
	second := event.Millis(time.Second)
	for _, test := range []struct {
		name, document string
		want           event.Tests
	}{
		{"surefire", `<?xml version="1.0" encoding="UTF-8"?>
<testsuite xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" name="com.example.SumTest" tests="4" failures="1">
  <properties><property name="java.version" value="21"/></properties>
  <testcase name="adds" classname="com.example.SumTest" time="0.5"/>
  <testcase name="carries" classname="com.example.SumTest" time="1,000.25">
    <failure message="expected: &lt;3&gt; but was: &lt;4&gt;" type="AssertionFailedError"><![CDATA[org.opentest4j.AssertionFailedError
	at com.example.SumTest.carries(SumTest.java:14)]]></failure>
    <system-out>printed</system-out>
  </testcase>
  <testcase name="later" classname="com.example.SumTest" time="0"><skipped/></testcase>
  <testcase name="wobbles" classname="com.example.SumTest" time="0.1"><flakyFailure message="once"/></testcase>
</testsuite>`, event.Tests{
			Total: 4, Failed: 1, Skipped: 1, Flaky: 1, Duration: event.Millis(1000.85 * float64(time.Second)),
			Failures: []event.TestFailure{{
				Name: "carries", Suite: "com.example.SumTest", Message: "expected: <3> but was: <4>", File: "SumTest.java", Line: 14,
				Text: "org.opentest4j.AssertionFailedError\n\tat com.example.SumTest.carries(SumTest.java:14)", Duration: event.Millis(1000.25 * float64(time.Second)),
			}},
			Slowest: []event.TestTime{
				{Name: "carries", Suite: "com.example.SumTest", Duration: event.Millis(1000.25 * float64(time.Second))},
				{Name: "adds", Suite: "com.example.SumTest", Duration: second / 2},
				{Name: "wobbles", Suite: "com.example.SumTest", Duration: second / 10},
				{Name: "later", Suite: "com.example.SumTest"},
			},
		}},
		{"pytest", `<testsuites><testsuite name="pytest"><testcase classname="tests.test_sum" name="test_carry" file="tests/test_sum.py" line="7" time="1"><error message="boom">E   boom</error></testcase></testsuite></testsuites>`, event.Tests{
			Total: 1, Failed: 1, Duration: second,
			Failures: []event.TestFailure{{Name: "test_carry", Suite: "tests.test_sum", File: "tests/test_sum.py", Line: 7, Message: "boom", Text: "E   boom", Duration: second}},
			Slowest:  []event.TestTime{{Name: "test_carry", Suite: "tests.test_sum", Duration: second}},
		}},
		{"go, with nested suites", `<testsuites><testsuite name="all"><testsuite name="example.com/sum"><testcase name="TestSum" time="bad"><failure message="Failed">sum_test.go:12: got 4
</failure></testcase></testsuite></testsuite></testsuites>`, event.Tests{
			Total: 1, Failed: 1,
			Failures: []event.TestFailure{{Name: "TestSum", Suite: "example.com/sum", File: "sum_test.go", Line: 12, Message: "Failed", Text: "sum_test.go:12: got 4"}},
			Slowest:  []event.TestTime{{Name: "TestSum", Suite: "example.com/sum"}},
		}},
		{"a file out of the workspace", `<testsuite><testcase name="a" file="/etc/passwd" line="1"><failure>x ../../y.go:3</failure></testcase></testsuite>`, event.Tests{
			Total: 1, Failed: 1,
			Failures: []event.TestFailure{{Name: "a", Line: 1, Message: "x ../../y.go:3", Text: "x ../../y.go:3"}},
			Slowest:  []event.TestTime{{Name: "a"}},
		}},
		{"absolute paths", `<testsuite><testcase name="a" file="/work/src/a.ts" line="3"><failure>x</failure></testcase><testcase name="b"><failure>at /work/src/b.ts:9</failure></testcase></testsuite>`, event.Tests{
			Total: 2, Failed: 2,
			Failures: []event.TestFailure{
				{Name: "a", File: "src/a.ts", Line: 3, Message: "x", Text: "x"},
				{Name: "b", File: "src/b.ts", Line: 9, Message: "at /work/src/b.ts:9", Text: "at /work/src/b.ts:9"},
			},
			Slowest: []event.TestTime{{Name: "a"}, {Name: "b"}},
		}},
		{"no tests", `<testsuites/>`, event.Tests{}},
		{"a suite that could not be set up", `<testsuites><testsuite name="s" errors="1"><error message="no database">x</error></testsuite></testsuites>`, event.Tests{
			Total: 1, Failed: 1, Failures: []event.TestFailure{{Name: "(the suite itself)", Suite: "s", Message: "no database", Text: "x"}},
			Slowest: []event.TestTime{{Name: "(the suite itself)", Suite: "s"}},
		}},
		{"numbers alone", `<testsuites failures="2"><testsuite name="s" failures="2" errors="0"><testcase name="a"/></testsuite></testsuites>`, event.Tests{
			Total: 2, Failed: 1, Failures: []event.TestFailure{{Name: "(the suite itself)", Suite: "s", Message: "the report says that 2 tests failed, and not which"}},
			Slowest: []event.TestTime{{Name: "a", Suite: "s"}, {Name: "(the suite itself)", Suite: "s"}},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := testreport.Collector{Workspace: "/work"}
			if err := c.Read(strings.NewReader(test.document)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, c.Tests()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// What a step writes to harm its reader.
func TestHostileReportsAreRefused(t *testing.T) {
	for name, test := range map[string]struct{ document, want string }{
		"entities":        {`<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><testsuite name="&b;"/>`, "document type"},
		"external entity": {`<!DOCTYPE x SYSTEM "file:///etc/passwd"><testsuite/>`, "document type"},
		"unknown entity":  {`<testsuite name="&b;"/>`, "entity"},
		"deep":            {strings.Repeat("<testsuite>", 100), "64 deep"},
		"large":           {`<testsuite><testcase name="` + strings.Repeat("a", testreport.MaxBytes), "16 MiB"},
		"large comment":   {`<testsuite><!--` + strings.Repeat("a", testreport.MaxBytes), "16 MiB"},
		"cut off":         {`<testsuite><testcase name="a"/>`, "no end"},
		"empty":           {"", "empty"},
		"nothing in it":   {`<?xml version="1.0"?><!-- -->`, "empty"},
		"crossed":         {`<testsuite><testcase name="a"></testsuite></testcase>`, "ends nothing"},
		"another one":     {`<html><body/></html>`, "no report of tests"},
		"no XML":          {"\x00\x01 <", ""},
		"another charset": {`<?xml version="1.0" encoding="UTF-16"?><testsuite/>`, "UTF-16"},
	} {
		t.Run(name, func(t *testing.T) {
			var c testreport.Collector
			err := c.Read(strings.NewReader(test.document))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// The forms of counts that test programs write when all is well, and those of reports with a part missing.
func TestReportsWithFewerTestsThanTheySayAreIncomplete(t *testing.T) {
	cases := func(n int) string { return strings.Repeat(`<testcase name="a"/>`, n) }
	const skipped = `<testcase name="s"><skipped/></testcase>`
	for name, test := range map[string]struct{ document, want string }{
		"surefire":                       {`<testsuite name="S" tests="3" errors="0" skipped="1" failures="0">` + cases(2) + skipped + `</testsuite>`, ""},
		"surefire, run again":            {`<testsuite name="S" tests="1" failures="0">` + cases(2) + `<testcase name="f"><flakyFailure type="x"/></testcase></testsuite>`, ""},
		"gotestsum":                      {`<testsuites tests="3" failures="0" errors="0"><testsuite tests="2" name="p">` + cases(2) + `</testsuite><testsuite tests="1" name="q">` + cases(1) + `</testsuite></testsuites>`, ""},
		"phpunit, nested":                {`<testsuites><testsuite name="all" tests="4"><testsuite name="A" tests="3">` + cases(1) + `<testsuite name="A::data" tests="2">` + cases(2) + `</testsuite></testsuite><testsuite name="B" tests="1">` + cases(1) + `</testsuite></testsuite></testsuites>`, ""},
		"ctest, with a disabled test":    {`<testsuite name="(empty)" tests="2" failures="0" disabled="1" skipped="0">` + cases(1) + `<testcase name="d" status="disabled"><skipped message="Disabled"/></testcase></testsuite>`, ""},
		"cargo-nextest":                  {`<testsuites name="nextest-run" tests="1" failures="0" errors="0"><testsuite name="c" tests="1" disabled="0" errors="0" failures="0">` + cases(1) + `</testsuite></testsuites>`, ""},
		"mocha, skipped tests left out":  {`<testsuites tests="3" failures="0" skipped="2"><testsuite name="Root Suite" tests="0"/><testsuite name="m" tests="3" skipped="2">` + cases(1) + `</testsuite></testsuites>`, ""},
		"pytest, with subtests":          {`<testsuites><testsuite name="pytest" errors="0" failures="0" skipped="0" tests="10">` + cases(2) + `</testsuite></testsuites>`, ""},
		"pytest, under a chosen name":    {`<testsuites name="pytest tests"><testsuite name="mine" errors="0" failures="0" skipped="0" tests="10">` + cases(2) + `</testsuite></testsuites>`, ""},
		"pytest, merged with another":    {`<testsuites tests="12"><testsuite name="pytest" tests="10">` + cases(2) + `</testsuite><testsuite name="o" tests="2">` + cases(2) + `</testsuite></testsuites>`, ""},
		"catch2 counts assertions":       {`<testsuites><testsuite name="t" errors="0" failures="0" skipped="0" tests="57" hostname="tbd">` + cases(2) + `</testsuite></testsuites>`, ""},
		"no counts":                      {`<testsuites><testsuite>` + cases(2) + `</testsuite></testsuites>`, ""},
		"no number":                      {`<testsuite tests="many">` + cases(2) + `</testsuite>`, ""},
		"more than it says":              {`<testsuite tests="1">` + cases(2) + `</testsuite>`, ""},
		"none":                           {`<testsuites tests="0"><testsuite tests="0" name="s"/></testsuites>`, ""},
		"a failure explains it":          {`<testsuite tests="3" failures="1"><testcase name="a"><failure/></testcase></testsuite>`, ""},
		"fewer":                          {`<testsuite name="s" tests="5" failures="0">` + cases(3) + `</testsuite>`, `it is incomplete: its suite "s" says that it has 5 tests, and lists 3`},
		"fewer of all":                   {`<testsuites tests="5"><testsuite name="s" tests="2">` + cases(2) + `</testsuite></testsuites>`, `it is incomplete: it says that it has 5 tests, and lists 2`},
		"fewer in one of two":            {`<testsuites><testsuite name="s" tests="1">` + cases(9) + `</testsuite><testsuite name="u" tests="2">` + cases(1) + `</testsuite></testsuites>`, `its suite "u"`},
		"none of many":                   {`<testsuites><testsuite name="s" tests="99999999999"/></testsuites>`, `says that it has 2147483647 tests, and lists 0`},
		"pytest, renamed, with none":     {`<testsuites name="pytest tests"><testsuite name="mine" tests="3"/></testsuites>`, `its suite "mine" says that it has 3 tests, and lists 0`},
		"pytest with none":               {`<testsuites><testsuite name="pytest" tests="3"/></testsuites>`, `its suite "pytest" says that it has 3 tests, and lists 0`},
		"more than skipped tests":        {`<testsuites tests="4" skipped="1"><testsuite name="m" tests="4" skipped="1">` + cases(1) + `</testsuite></testsuites>`, `its suite "m"`},
		"skipped in an inner suite":      {`<testsuites tests="4" skipped="1"><testsuite name="m" tests="2" skipped="1">` + cases(1) + `</testsuite></testsuites>`, `it says that it has 4 tests, and lists 1`},
		"skipped tests that it does not": {`<testsuite name="s" tests="3" skipped="1">` + cases(1) + skipped + `</testsuite>`, "and lists 2"},
	} {
		var c testreport.Collector
		err := c.Read(strings.NewReader(test.document))
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
		if failed := c.Tests().Failed; failed > strings.Count(test.document, "<failure") {
			t.Errorf("%s: %d tests failed", name, failed)
		}
	}
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	var document strings.Builder
	document.WriteString("<testsuite>")
	long := strings.Repeat("x", 100_000)
	for range 60 {
		document.WriteString(`<testcase name="` + long + `" classname="` + long + `"><failure message="` + long + `">` + long + `</failure></testcase>`)
	}
	document.WriteString("</testsuite>")
	var c testreport.Collector
	err := c.Read(strings.NewReader(document.String()))
	if err == nil || !strings.Contains(err.Error(), "16 MiB") {
		t.Fatal(err)
	}
	tests := c.Tests()
	size := 0
	for _, f := range tests.Failures {
		size += len(f.Name) + len(f.Suite) + len(f.Message) + len(f.Text)
	}
	if tests.Failed < 30 || len(tests.Failures) > 50 || size > 50*5000 || len(tests.Slowest) > 5 {
		t.Errorf("%d failed, %d kept of %d bytes, %d slowest", tests.Failed, len(tests.Failures), size, len(tests.Slowest))
	}
}

// Where a text is cut, no part of a secret stays: nobody would know it for one.
func TestSecretsAreMaskedBeforeTextsAreCut(t *testing.T) {
	const secret = "correct-horse-battery-staple"
	mask := func(text string) string { return strings.ReplaceAll(text, secret, "***") }
	for _, at := range []int{300, 1000, 3000} { // where names, messages and texts are cut
		text := strings.Repeat("x", at-len(secret)+1) + secret + "."
		for _, document := range []string{
			`<testsuite><testcase name="` + text + `" classname="` + text + `"><failure message="` + text + `">` + text[:at-5] + `<!-- -->` + text[at-5:] + `</failure></testcase></testsuite>`,
			`<testsuite name="` + text + `"><failure message="` + text + `">` + text + `</failure></testsuite>`,
			`<testsuite name="` + text + `"><testcase name="a"><error>` + text + `</error></testcase></testsuite>`,
		} {
			c := testreport.Collector{Mask: mask}
			if err := c.Read(strings.NewReader(document)); err != nil {
				t.Fatal(err)
			}
			for _, f := range c.Tests().Failures {
				if all := mask(f.Name + " " + f.Suite + " " + f.Message + " " + f.Text); strings.Contains(all, secret[:10]) || strings.Contains(all, secret[:5]+" ") {
					t.Errorf("cut at %d: %s", at, all)
				}
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`<testsuites><testsuite name="a"><testcase name="b" time="1e9"><failure>x.go:1</failure></testcase></testsuite></testsuites>`)
	f.Add(`<testsuite><testcase><failure><testcase/></failure></testcase></testsuite>`)
	f.Fuzz(func(t *testing.T, document string) {
		var c testreport.Collector
		_ = c.Read(strings.NewReader(document)) // only what was kept matters
		tests := c.Tests()
		if tests.Failed+tests.Skipped+tests.Flaky > tests.Total || tests.Duration < 0 || len(tests.Failures) > tests.Failed {
			t.Errorf("%+v", tests)
		}
		for _, f := range tests.Failures {
			if strings.HasPrefix(f.File, "/") || strings.HasPrefix(f.File, "..") || f.Line < 0 {
				t.Errorf("%+v", f)
			}
		}
	})
}
