package yamlfault

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// lateLines are the messages for which the YAML library counts lines from 0.
// For all others it counts from 1.
var lateLines = []string{
	"did not find expected '-' indicator",
	"did not find expected key",
	"did not find expected ',' or ']'",
	"did not find expected ',' or '}'",
	"did not find expected node content",
	"did not find expected <document start>",
}

// Explain says where and why the YAML library has refused a text with an error. The library's own
// words, which have the line in them, are used only if Find finds nothing.
func Explain(data []byte, refusal error) *Fault {
	if f := Find(data); f != nil {
		return f
	}
	f := &Fault{Line: 1, Message: strings.TrimPrefix(refusal.Error(), "yaml: ")}
	if n, err := fmt.Sscanf(f.Message, "line %d:", &f.Line); n == 1 && err == nil {
		_, f.Message, _ = strings.Cut(f.Message, ": ")
		if slices.Contains(lateLines, f.Message) {
			f.Line++
		}
	}
	lines := bytes.Split(bytes.TrimRight(data, "\n"), []byte("\n"))
	f.Line = min(f.Line, len(lines)) // the problem may be the end of the file
	line := lines[f.Line-1]
	f.Column = 1 + len(line) - len(bytes.TrimLeft(line, " "))
	return f
}
