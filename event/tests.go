package event

// Tests is what the test reports of a step say.
type Tests struct {
	Files    int           `json:"files"` // reports that were read
	Total    int           `json:"total"`
	Failed   int           `json:"failed"`
	Skipped  int           `json:"skipped,omitempty"`
	Flaky    int           `json:"flaky,omitempty"`    // tests that succeeded only when they were tried again
	Duration Millis        `json:"duration_ms"`        // of all tests together
	Failures []TestFailure `json:"failures,omitempty"` // the first 50
	Slowest  []TestTime    `json:"slowest,omitempty"`  // at most 5, the slowest first
	Problems []string      `json:"problems,omitempty"` // reports that could not be read, and why; at most 10
}

// TestFailure is a test that failed.
type TestFailure struct {
	Name     string `json:"name"`
	Suite    string `json:"suite,omitempty"`   // its class, file or package
	File     string `json:"file,omitempty"`    // relative to the workspace, where the report or the message names one
	Line     int    `json:"line,omitempty"`    // line in File, from 1; 0: unknown
	Message  string `json:"message,omitempty"` // what went wrong, in a line or a few
	Text     string `json:"text,omitempty"`    // beginning of what the report has about it, such as a stack
	Duration Millis `json:"duration_ms"`
}

// Title is the suite and the name of the test.
func (t *TestFailure) Title() string { return title(t.Suite, t.Name) }

// TestTime is how long a test took.
type TestTime struct {
	Name     string `json:"name"`
	Suite    string `json:"suite,omitempty"`
	Duration Millis `json:"duration_ms"`
}

// Title is the suite and the name of the test.
func (t *TestTime) Title() string { return title(t.Suite, t.Name) }

func title(suite, name string) string {
	if suite == "" {
		return name
	}
	return suite + ": " + name
}
