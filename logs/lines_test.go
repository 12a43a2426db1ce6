package logs_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/logs"
)

func TestLinesSplits(t *testing.T) {
	full := strings.Repeat("x", logs.MaxLine)
	tests := []struct {
		name string
		in   string
		want []string // "+" in front of the partial ones
	}{
		{"nothing", "", nil},
		{"one line", "a\n", []string{"a"}},
		{"no newline at the end", "a\nb", []string{"a", "b"}},
		{"empty lines", "\n\n", []string{"", ""}},
		{"carriage return before the newline", "a\r\nb\r\r\n\r\n", []string{"a", "b\r", ""}},
		{"carriage return elsewhere", "10%\r20%\nc\r", []string{"10%\r20%", "c\r"}},
		{"full line", full + "\n", []string{full}},
		{"full line, carriage return", full + "\r\n", []string{full}},
		{"full line, no newline", full, []string{full}},
		{"one byte too many", full + "y\n", []string{"+" + full, "y"}},
		{"one carriage return too many", full + "\r", []string{"+" + full, "\r"}},
		{"two carriage returns", full + "\r\r\n", []string{"+" + full, "\r"}},
		{"three pieces", full + full + "y\nz\n", []string{"+" + full, "+" + full, "y", "z"}},
		{"two full pieces", full + full + "\n", []string{"+" + full, full}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{1, 2, 3, 1000, logs.MaxLine, logs.MaxLine + 1, len(tt.in) + 1} {
				if diff := cmp.Diff(tt.want, splitLines(t, tt.in, size)); diff != "" {
					t.Errorf("writes of %d bytes (-want +got):\n%.500s", size, diff)
				}
			}
		})
	}
}

// splitLines writes in by size bytes and returns what is emitted.
func splitLines(t *testing.T, in string, size int) []string {
	t.Helper()
	var got []string
	l := logs.NewLines(func(lines []logs.Line) {
		for _, line := range lines {
			got = append(got, marked(line))
		}
	})
	for len(in) > 0 {
		n, err := io.WriteString(l, in[:min(size, len(in))])
		if err != nil {
			t.Fatal(err)
		}
		in = in[n:]
	}
	for range 2 { // closing twice emits nothing twice
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

// marked is a line with "+" in front if it is partial.
func marked(line logs.Line) string {
	if line.Partial {
		return "+" + line.Text
	}
	return line.Text
}

func TestLinesCutsBetweenCharactersAndControlSequences(t *testing.T) {
	for _, tt := range []struct{ name, at string }{
		{"a letter of two bytes", "ä"}, {"one of four", "😀"}, {"a colour", "\x1b[38;5;100m"},
	} {
		for before := range len(tt.at) {
			text := strings.Repeat("x", logs.MaxLine-before)
			if diff := cmp.Diff([]string{"+" + text, tt.at + "y"}, splitLines(t, text+tt.at+"y\n", 1000)); diff != "" {
				t.Errorf("%s, %d bytes before the border (-want +got):\n%.300s", tt.name, before, diff)
			}
		}
	}
	// What is no character and no sequence is cut all the same.
	for _, odd := range []string{"\xff\xff\xff\xff", "\x1b" + strings.Repeat("[", 200)} {
		for _, line := range splitLines(t, strings.Repeat("x", logs.MaxLine-2)+odd+"\n", 1000) {
			if len(line) > logs.MaxLine+1 {
				t.Errorf("%.20q: a piece of %d bytes", odd, len(line))
			}
		}
	}
}

func TestLinesFlushes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		writes []string // each is flushed
		want   []string
	}{
		{"nothing", []string{""}, nil},
		{"a whole line", []string{"a\n"}, []string{"a"}},
		{"a prompt and its answer", []string{"Password: ", "\n", "ok\n"}, []string{"+Password: ", "", "ok"}},
		{"a prompt at the end", []string{"Password: "}, []string{"+Password: ", ""}},
		{"dots", []string{".", ".", ".\nx\n"}, []string{"+.", "+.", ".", "x"}},
		{"half a character", []string{"a\xc3", "\xa4\n"}, []string{"+a", "ä"}},
		{"half a sequence", []string{"a\x1b[3", "1mb\n"}, []string{"+a", "\x1b[31mb"}},
		{"a carriage return of a newline", []string{"a\r", "\nb\n"}, []string{"+a", "", "b"}},
		{"progress", []string{"10%\r", "20%\r", "\n"}, []string{"+10%", "+\r20%", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			l := logs.NewLines(func(lines []logs.Line) {
				for _, line := range lines {
					got = append(got, marked(line))
				}
			})
			for _, write := range tt.writes {
				if _, err := io.WriteString(l, write); err != nil {
					t.Fatal(err)
				}
				if err := l.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzLines joins the lines again, and compares cuts of the input with each other.
func FuzzLines(f *testing.F) {
	f.Add("a\nb\r\n\r\nc", 1, 0)
	f.Add("line\r", 3, logs.MaxLine-5)
	f.Add("\r\n", 7, logs.MaxLine)
	f.Fuzz(func(t *testing.T, in string, size, pad int) {
		in = strings.Repeat("p", int(uint(pad)%(2*logs.MaxLine))) + in
		lines := splitLines(t, in, len(in)+1)
		if diff := cmp.Diff(lines, splitLines(t, in, 1+int(uint(size)%(2*logs.MaxLine)))); diff != "" {
			t.Fatalf("depends on the cuts:\n%s", diff)
		}
		if err := sameText(in, lines); err != nil {
			t.Error(err)
		}
	})
}

// sameText compares in with the lines joined, a "\r" before a "\n" apart.
func sameText(in string, lines []string) error {
	var joined strings.Builder
	for _, line := range lines {
		piece, partial := strings.CutPrefix(line, "+")
		if partial && len(piece) > logs.MaxLine-200 {
			joined.WriteString(piece)
			continue
		}
		if len(line) > logs.MaxLine {
			return fmt.Errorf("a line has %d bytes", len(line))
		}
		joined.WriteString(line + "\n")
	}
	want := strings.ReplaceAll(in, "\r\n", "\n")
	if !strings.HasSuffix(want, "\n") && want != "" {
		want += "\n"
	}
	if joined.String() != want {
		return fmt.Errorf("lines join to %.200q, want %.200q", joined.String(), want)
	}
	return nil
}
