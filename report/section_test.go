package report_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report"
)

func TestSectionMark(t *testing.T) {
	for line, want := range map[string]struct {
		mark  report.Mark
		title string
	}{
		"::group::Run tests":                  {report.SectionBegin, "Run tests"},
		"::group::":                           {report.SectionBegin, ""},
		"::group::\x1b[31mred\x1b[0m \u202ex": {report.SectionBegin, `red \u202ex`},
		"::endgroup::":                        {report.SectionEnd, ""},
		"\x1b[0Ksection_start:1560896352:install[collapsed=true]\r\x1b[0KInstall it": {report.SectionBegin, "Install it"},
		"section_start:1560896352:install[collapsed=true]\r\x1b[0K":                  {report.SectionBegin, "install"},
		"section_start:1:bare":                           {report.SectionBegin, "bare"},
		"\x1b[0Ksection_end:1560896353:install\r\x1b[0K": {report.SectionEnd, ""},
		"the section_start: of a text":                   {report.NoMark, ""},
		"::error::no section":                            {report.NoMark, ""},
		" ::group::of something else":                    {report.NoMark, ""},
	} {
		mark, title := report.SectionMark(line)
		if mark != want.mark || title != want.title {
			t.Errorf("%q is %v %q", line, mark, title)
		}
	}
}

func TestTailsFoldSections(t *testing.T) {
	lines := []string{"before", "::group::one", "1", "2", "3", "4", "::endgroup::", "between", "::group::two", "5"}
	for _, test := range []struct {
		tail report.Tail
		want []string
	}{
		{report.Tail{Max: 9, Fold: true}, []string{"before", "▸ one (4 lines)", "between", "5"}},
		{report.Tail{Max: 3, Fold: true}, []string{"▸ one (4 lines)", "between", "5"}},
		{report.Tail{Max: 9}, []string{"before", "▾ one", "1", "2", "3", "4", "between", "▾ two", "5"}},
	} {
		for _, line := range lines {
			test.tail.Add(event.Event{Stream: event.Stdout, Text: line})
		}
		if diff := cmp.Diff(test.want, test.tail.Lines()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}
