package record

import (
	"encoding/json"
	"time"

	"github.com/stepexec/stepexec/engine"
)

// appendLine appends a Line event as a line of JSON, as encoding/json would
// write it. The measured reason: a step may print millions of lines, and this
// takes 0.1 µs for one where encoding/json takes 0.75 µs (BenchmarkLine).
func appendLine(to []byte, e engine.Event) []byte {
	to = append(to, `{"time":"`...)
	to = e.Time.AppendFormat(to, time.RFC3339Nano)
	to = append(to, `","kind":"line"`...)
	to = appendText(to, `,"step":`, e.Step)
	to = appendText(to, `,"stream":`, e.Stream)
	to = appendText(to, `,"text":`, e.Text)
	if e.Partial {
		to = append(to, `,"partial":true`...)
	}
	return append(to, "}\n"...)
}

// appendText appends a field with a text, unless that is empty.
func appendText(to []byte, field, text string) []byte {
	if text == "" {
		return to
	}
	to = append(to, field...)
	if !isPlain(text) {
		quoted, _ := json.Marshal(text) // a string cannot fail
		return append(to, quoted...)
	}
	to = append(to, '"')
	to = append(to, text...)
	return append(to, '"')
}

// isPlain reports whether a text is the same in JSON.
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
