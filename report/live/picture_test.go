package live

import (
	"flag"
	"fmt"
	"html"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/report"
)

var picture = flag.String("picture", "", "write the picture of the live view to this file: -args -picture=../../docs/live.svg")

// TestPictureOfTheDocumentationIsCurrent draws the live view of the demo, a second after its start, as
// docs/live.svg has it.
func TestPictureOfTheDocumentationIsCurrent(t *testing.T) {
	got := svg(demoScreen())
	if *picture != "" {
		if err := os.WriteFile(*picture, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("../../docs/live.svg")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Error("docs/live.svg shows another view; to write it: go test ./report/live -run Picture -args -picture=../../docs/live.svg")
	}
}

// demoScreen returns the lines of a terminal in the middle of the demo.
func demoScreen() []string {
	s := newState(Options{Style: report.Style{Colour: true}})
	line := func(at float64, step, text string) event.Event {
		return event.Event{Kind: event.Line, Time: after(at), Step: step, Stream: event.Stdout, Text: text}
	}
	started := func(at float64, step string, service bool) event.Event {
		return event.Event{Kind: event.StepStarted, Time: after(at), Step: step, Image: "oci:image", Service: service}
	}
	for _, e := range []event.Event{
		{Kind: event.RunStarted, Time: start, Name: "demo", Steps: 6},
		started(0.1, "greeter", true),
		line(0.1, "greeter", "listening on port 8417"),
		started(0.1, "fetch", false),
		line(0.1, "fetch", `+ echo "package main" > main.txt`),
		line(0.1, "fetch", "+ sleep 0.3"),
		{Kind: event.StepFinished, Time: after(0.4), Step: "fetch", Result: &event.StepResult{Step: "fetch", Status: event.Succeeded, Started: after(0.1), Duration: event.Millis(310 * time.Millisecond)}},
		started(0.4, "lint", false),
		line(0.4, "lint", "package main"),
		line(0.4, "lint", "+ sleep 0.7"),
		started(0.4, "unit tests", false),
		line(0.4, "unit tests", "+ sleep 0.5"),
		started(0.4, "integration tests", false),
		line(0.5, "integration tests", "+ get http://greeter:$PORT/"),
		line(0.5, "integration tests", "hello from the service greeter"),
	} {
		s.event(e)
	}
	printed := strings.Split(strings.TrimSuffix(strings.Join(s.printed, ""), "\n"), "\n")
	return append(printed, s.block(after(0.8), 74, 24)...)
}

var sgr = regexp.MustCompile("\x1b\\[([0-9;]*)m")

// svg draws lines of text with colours (ECMA-48, 8.3.117) as a terminal would show them.
func svg(lines []string) string {
	const width, height, margin = 8, 18, 16
	columns := 74
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="stepexec shows a run on a terminal: its steps, and what they print">`+"\n",
		columns*width+2*margin, len(lines)*height+2*margin)
	b.WriteString(`<rect width="100%" height="100%" rx="8" fill="#16181d"/>` + "\n")
	b.WriteString(`<g font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="13" fill="#d7dae0">` + "\n")
	for i, line := range lines {
		fmt.Fprintf(&b, `<text x="%d" y="%d">%s</text>`+"\n", margin, margin+(i+1)*height-5, spans(line))
	}
	b.WriteString("</g>\n</svg>\n")
	return b.String()
}

// spans turns the colours of a line into those of SVG.
func spans(line string) string {
	colours := map[string]string{"31": "#ff7b72", "32": "#7ee787", "33": "#e3b341", "34": "#79c0ff", "35": "#d2a8ff", "36": "#76e3ea", "90": "#8b949e"}
	var b strings.Builder
	open, style := false, ""
	add := func(text string) {
		if text == "" {
			return
		}
		if open = style != ""; open {
			b.WriteString("<tspan" + style + ">")
		}
		b.WriteString(strings.ReplaceAll(html.EscapeString(text), " ", "\u00a0")) // SVG joins spaces
		if open {
			b.WriteString("</tspan>")
		}
	}
	from := 0
	for _, at := range sgr.FindAllStringSubmatchIndex(line, -1) {
		add(line[from:at[0]])
		from = at[1]
		for code := range strings.SplitSeq(line[at[2]:at[3]], ";") {
			switch {
			case code == "" || code == "0":
				style = ""
			case code == "1":
				style += ` font-weight="bold"`
			case code == "2":
				style += ` opacity="0.6"`
			case colours[code] != "":
				style += ` fill="` + colours[code] + `"`
			}
		}
	}
	add(line[from:])
	return b.String()
}
