package logs_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/logs"
)

// A step may stop anywhere in the middle of its output. What is passed on then has nothing of a secret, even where an
// escape seems to begin in front of it, at the end of the line before, or to go on behind it.
func TestMaskKeepsQuotedSecretsWhereAStepPauses(t *testing.T) {
	for _, test := range []struct {
		secret, in string
		part       string // of the quoted secret: its beginning, as far as more than one character is
	}{
		{"FeUPZDcbaM6C43&u", " %FeUPZDcbaM6C43%26u\n", "Fe"},
		{"FeUPZDcbaM6C43&uz", " %FeUPZDcbaM6C43%26uz\n", "Fe"},
		{"kqhgf9QXR5PF", "\\\n" + each("kqhgf9QXR5PF", `\u%04x`) + "\n", `006b`},
		{"ékqhgf9QXR5PF", "é\n\\u00e9kqhgf9QXR5PF\n", "k"},
		{"ékqhgf9QXR5PF", "é\n%c3%a9kqhgf9QXR5PF\n", "k"},
		{"kqhgf9QXR5PFé", `"kqhgf9QXR5PF\u00e9"` + "\n", "k"},
		{"kqhgf9QXR5PF%c9", "x=kqhgf9QXR5PF%25c9\n", "k"},
		{`kqhgf9QXR5€"%A`, "kqhgf9QXR5%E2%82%AC%22%25A\n", "k"},
		{"Uqhgf9QXR5PF", "\\Uqhgf9QXR5PF\n", "U"},
		{"Uqhgf9QXR5PF", "%Uqhgf9QXR5PF\n", "U"},
	} {
		mask := logs.NewMask([]string{test.secret})
		check := func(parts ...string) {
			if got := maskPauses(t, mask, parts); strings.Contains(got, test.part) || !strings.Contains(got, "***") {
				t.Fatalf("secret %q in %q becomes %q", test.secret, parts, got)
			}
		}
		for i := range len(test.in) {
			for j := i; j <= len(test.in); j++ {
				check(test.in[:i], test.in[i:j], test.in[j:])
			}
		}
		check(strings.Split(test.in, "")...)
	}
}

// maskPauses writes parts with a pause behind each.
func maskPauses(t *testing.T, mask *logs.Mask, parts []string) string {
	t.Helper()
	var out bytes.Buffer
	w := mask.Writer(&out)
	for _, part := range parts {
		if _, err := io.WriteString(w, part); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
