package logs_test

import (
	"io"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/logs"
)

// A step must not take the memory of the process that reads it, nor its time with a text that is searched again for
// each write.
func TestMaskKeepsLittleOfAnEndlessOutput(t *testing.T) {
	for name, text := range map[string]string{
		"spaces":                      " ",
		"spaces and tabs":             " \t",
		"an address without an end":   "0",
		"a dump without a line's end": "41 ",
		"lines of a dump":             "000000 41 42 43\n",
		"backslashes":                 `\`,
		"backslashes in JSON":         `\u005c`,
		"backslashes in a URL":        "%5C",
		"spaces in a URL":             "%20",
		"quotes in HTML":              "&quot;",
		"quotes in HTML in a URL":     "%26quot%3B",
		"quotes in C":                 `\x27`,
		"escaped percent signs":       "%2525",
		"spaces and escaped ones":     `  \u0020`,
	} {
		for _, begin := range []string{"", "\n", "000000 ff "} {
			t.Run(strings.ReplaceAll(name+" behind "+begin, "\n", "NL"), func(t *testing.T) {
				w := logs.NewMask([]string{"horse-battery-staple"}).Writer(io.Discard)
				write := func(text string) {
					if _, err := io.WriteString(w, text); err != nil {
						t.Fatal(err)
					}
				}
				write(begin)
				for range 40 {
					write(strings.Repeat(text, 16<<10/len(text)))
				}
				if kept := logs.Kept(w); kept > 256<<10 {
					t.Errorf("kept %d bytes of 640 KiB", kept)
				}
			})
		}
	}
}
