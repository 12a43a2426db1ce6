package testreport

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stepexec/stepexec/event"
)

// Limits of what is read and kept.
const (
	MaxBytes    = 16 << 20 // of a document
	maxDepth    = 64       // of its elements
	maxTests    = 200_000  // of all documents of a step
	maxFailures = 50       // that are kept with their texts
	maxSlowest  = 5
	maxName     = 300  // bytes of a name, also of a file's
	maxMessage  = 1000 // bytes
	maxText     = 3000 // bytes of the text of a failure

	maxSecret = 64 << 10 // bytes of the longest secret that may stand where a text is cut
)

// Collector adds up the reports of a step.
type Collector struct {
	Workspace string                   // path of the workspace as the test programs had it; names of files below it become relative
	Mask      func(text string) string // takes secrets out of a text before it is cut: nobody could find half of one; nil: there are none

	tests event.Tests
}

// Tests returns what was read so far.
func (c *Collector) Tests() event.Tests { return c.tests }

// Read adds a document. What was read of it before an error counts.
func (c *Collector) Read(document io.Reader) error {
	limited := &io.LimitedReader{R: document, N: MaxBytes + 1}
	decoder := xml.NewDecoder(limited)
	decoder.CharsetReader = charset
	r := reader{collector: c}
	for {
		token, err := decoder.RawToken()
		switch {
		case limited.N == 0:
			return fmt.Errorf("it has more than %d MiB", MaxBytes>>20)
		case errors.Is(err, io.EOF):
			return r.end()
		case err != nil:
			return err
		}
		if err := r.token(token); err != nil {
			return err
		}
	}
}

// charset passes on texts whose encoding is a part of UTF-8.
func charset(name string, in io.Reader) (io.Reader, error) {
	switch strings.ToLower(name) {
	case "us-ascii", "ascii", "utf8":
		return in, nil
	}
	return nil, fmt.Errorf("its encoding is %.40q, not UTF-8", name)
}

// reader is the state in one document.
type reader struct {
	collector *Collector
	open      []string // names of the elements around
	begun     bool     // there was an element
	suites    []suite  // the suites around
	test      *test    // the one around; nil: none
	alone     *test    // the failure around of a suite itself, which is no test's; nil: none
	into      *[]byte  // text of the failure around; nil: none
	missing   error    // the first suite that has fewer tests than it says; nil: none has
}

// test is what is known of one test.
type test struct {
	event.TestFailure
	text                   []byte // of the failure
	failed, skipped, flaky bool
}

func (r *reader) token(token xml.Token) error {
	switch token := token.(type) {
	case xml.Directive:
		return errors.New("it has a document type, which is not read")
	case xml.StartElement:
		return r.start(token)
	case xml.EndElement:
		return r.finish(token.Name.Local)
	case xml.CharData:
		if r.into != nil {
			*r.into = append(*r.into, token[:min(len(token), maxText+maxSecret-len(*r.into))]...)
		}
	}
	return nil
}

func (r *reader) start(e xml.StartElement) error {
	name := e.Name.Local
	switch {
	case len(r.open) == 0 && name != "testsuites" && name != "testsuite":
		return fmt.Errorf("it is no report of tests: it begins with <%.40s>", name)
	case len(r.open) == maxDepth:
		return fmt.Errorf("its elements are more than %d deep", maxDepth)
	}
	r.open, r.begun = append(r.open, name), true
	value := func(key string) string {
		for _, a := range e.Attr {
			if a.Name.Local == key {
				return a.Value
			}
		}
		return ""
	}
	switch name {
	case "testsuites", "testsuite":
		s := r.collector.suiteOf(name, value)
		s.loose = s.loose || len(r.suites) > 0 && r.suites[len(r.suites)-1].loose // the inner name can be chosen (junit_suite_name)
		r.suites = append(r.suites, s)
	case "testcase":
		if r.test != nil {
			return errors.New("it has a test in a test")
		}
		if r.collector.tests.Total >= maxTests {
			return fmt.Errorf("there are more than %d tests", maxTests)
		}
		r.collector.tests.Total++
		line, _ := strconv.Atoi(value("line"))
		r.test = &test{TestFailure: event.TestFailure{
			Name: r.collector.cut(value("name"), maxName), Suite: r.collector.cut(value("classname"), maxName), Duration: seconds(value("time")),
			File: r.collector.relative(value("file")), Line: max(line, 0),
		}}
		if r.test.Suite == "" && len(r.suites) > 0 {
			r.test.Suite = r.suites[len(r.suites)-1].name
		}
	case "failure", "error":
		if r.test == nil && r.into == nil && len(r.suites) > 0 { // of the suite itself, which could not be set up
			r.alone = &test{failed: true, TestFailure: event.TestFailure{
				Name: suiteFailure, Suite: r.suites[len(r.suites)-1].name, Message: r.collector.cut(strings.TrimSpace(value("message")), maxMessage),
			}}
			r.into = &r.alone.text
		}
		if r.test != nil && !r.test.failed {
			r.test.failed = true
			r.test.Message = r.collector.cut(strings.TrimSpace(value("message")), maxMessage)
			r.into = &r.test.text
		}
	case "skipped":
		if r.test != nil {
			r.test.skipped = true
		}
	case "flakyFailure", "flakyError":
		if r.test != nil {
			r.test.flaky = true
		}
	}
	return nil
}

func (r *reader) finish(name string) error {
	if len(r.open) == 0 || r.open[len(r.open)-1] != name {
		return fmt.Errorf("</%.40s> ends nothing", name)
	}
	r.open = r.open[:len(r.open)-1]
	switch name {
	case "testsuites", "testsuite":
		r.endSuite()
	case "failure", "error":
		r.into = nil
		if r.alone != nil {
			r.collector.tests.Total++
			r.collector.add(r.alone)
			r.alone = nil
		}
	case "testcase":
		if r.test != nil {
			r.collector.add(r.test)
		}
		r.test = nil
	}
	return nil
}

func (r *reader) end() error {
	if len(r.open) > 0 {
		return fmt.Errorf("it is cut off: <%.40s> has no end", r.open[len(r.open)-1])
	}
	if !r.begun { // as of a test program that ended before it wrote
		return errors.New("it is empty")
	}
	return r.missing
}

// add counts a test that has been read.
func (c *Collector) add(t *test) {
	c.tests.Duration += t.Duration
	switch {
	case t.failed:
		c.tests.Failed++
		t.Text = c.cut(strings.TrimSpace(string(t.text)), maxText)
		if t.Message == "" {
			t.Message, _, _ = strings.Cut(c.cut(t.Text, maxMessage), "\n")
		}
		if t.File == "" || t.Line == 0 {
			c.place(t)
		}
		if len(c.tests.Failures) < maxFailures {
			c.tests.Failures = append(c.tests.Failures, t.TestFailure)
		}
	case t.skipped:
		c.tests.Skipped++
	case t.flaky:
		c.tests.Flaky++
	}
	slowest := append(c.tests.Slowest, event.TestTime{Name: t.Name, Suite: t.Suite, Duration: t.Duration})
	slices.SortStableFunc(slowest, func(a, b event.TestTime) int { return int(min(max(int64(b.Duration-a.Duration), -1), 1)) })
	c.tests.Slowest = slowest[:min(len(slowest), maxSlowest)]
}

// place takes a test's place from the first file and line that the text of its failure names.
func (c *Collector) place(t *test) {
	form := regexp.MustCompile(`(?:^|[\s("'])((?:\.?/)?[\w-][\w./-]*\.[A-Za-z]\w{0,7}):(\d{1,7})\b`)
	for _, match := range form.FindAllStringSubmatch(t.Text, 20) {
		file := c.relative(match[1])
		if line, err := strconv.Atoi(match[2]); err == nil && line > 0 && file != "" && (t.File == "" || path.Base(t.File) == path.Base(file)) {
			t.Line = line
			if t.File == "" {
				t.File = file
			}
			return
		}
	}
}

// relative returns the path of a file if it is in the workspace, and "" otherwise.
func (c *Collector) relative(file string) string {
	if c.Workspace != "" {
		file = strings.TrimPrefix(file, c.Workspace+"/")
	}
	file = path.Clean(strings.ReplaceAll(file, `\`, "/"))
	if file == "." || path.IsAbs(file) || file == ".." || strings.HasPrefix(file, "../") || len(file) > maxName || strings.ContainsFunc(file, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return ""
	}
	return file
}

// seconds reads a number of seconds; some programs put commas between thousands.
func seconds(text string) event.Millis {
	number, err := strconv.ParseFloat(strings.ReplaceAll(text, ",", ""), 64)
	if err != nil || math.IsNaN(number) || number < 0 || number > 1e7 {
		return 0
	}
	return event.Millis(number * float64(time.Second))
}

// cut returns the beginning of a text, of at most so many bytes.
func (c *Collector) cut(text string, bytes int) string {
	if len(text) > bytes {
		if text = text[:min(len(text), bytes+maxSecret)]; c.Mask != nil {
			text = c.Mask(text)
		}
		text = text[:min(len(text), bytes)]
	}
	return strings.ToValidUTF8(text, "")
}
