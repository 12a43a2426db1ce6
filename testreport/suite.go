package testreport

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/stepexec/stepexec/event"
)

// suite is what is known of a suite, or of all suites of a document.
type suite struct {
	name    string
	tests   int         // number of tests that it says it has; 0: it does not say
	skipped int         // tests that it says were skipped or disabled
	failed  int         // failures and errors that it says it has
	loose   bool        // its program counts more than tests
	before  event.Tests // what had been read when it began
	unnamed int         // tests of inner suites that need not be listed
}

// suiteOf reads the attributes of a suite.
func (c *Collector) suiteOf(element string, value func(key string) string) suite {
	sum := func(keys ...string) (total int) {
		for _, key := range keys {
			if n, err := strconv.Atoi(strings.TrimSpace(value(key))); err == nil && n > 0 {
				total += min(n, math.MaxInt32)
			}
		}
		return total
	}
	s := suite{
		name: c.cut(value("name"), maxName), before: c.tests,
		tests: sum("tests"), skipped: sum("skipped", "skips", "ignored", "disabled"), failed: sum("failures", "errors"),
		loose: countsMore(value("name"), value("hostname")),
	}
	if element == "testsuites" {
		s.name = ""
	}
	return s
}

// countsMore recognises suites of programs that count more than the tests that they list: pytest counts each
// subtest (pytest-subtests) and each failed clean-up of a fixture, and Catch2, whose host is "tbd", counts assertions.
func countsMore(name, host string) bool {
	return name == "pytest" || name == "pytest tests" || host == "tbd"
}

// suiteFailure is the name of a failure that is no test's.
const suiteFailure = "(the suite itself)"

// endSuite compares what a suite says about itself with the tests in it. If none of them has failed, it counts what
// the suite says has failed: some programs give only the numbers, and a test program that crashed may have no test
// for its end. A suite with fewer tests than it says is incomplete.
func (r *reader) endSuite() {
	s := r.suites[len(r.suites)-1]
	r.suites = r.suites[:len(r.suites)-1]
	tests := &r.collector.tests
	if s.failed > 0 && tests.Failed == s.before.Failed {
		tests.Total++
		r.collector.add(&test{failed: true, TestFailure: event.TestFailure{
			Name: suiteFailure, Suite: s.name, Message: fmt.Sprintf("the report says that %d tests failed, and not which", s.failed),
		}})
	}
	if tests.Failed > s.before.Failed {
		return // red in any case, and a test that could not be cleaned up may count twice
	}
	unnamed := max(s.unnamed, s.skipped-(tests.Skipped-s.before.Skipped)) // some programs leave out skipped tests
	listed := tests.Total - s.before.Total
	missing := s.tests - listed - unnamed
	if s.loose && listed > 0 {
		unnamed += max(0, missing)
		missing = 0
	}
	if len(r.suites) > 0 {
		r.suites[len(r.suites)-1].unnamed += unnamed
	}
	if missing > 0 && r.missing == nil {
		where := "it"
		if s.name != "" {
			where = fmt.Sprintf("its suite %.80q", s.name)
		}
		r.missing = fmt.Errorf("it is incomplete: %s says that it has %d tests, and lists %d", where, s.tests, listed)
	}
}
