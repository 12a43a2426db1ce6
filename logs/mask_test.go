package logs_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/logs"
)

func TestMaskReplacesSecrets(t *testing.T) {
	const multi = "-----BEGIN KEY-----\nMIIEvQIBADANBg\n}\nkqhkiG9w0BAQEF\n-----END KEY-----\n"
	tests := []struct {
		name    string
		secrets []string
		in      string
		want    string
	}{
		{"nothing to mask", nil, "plain text", "plain text"},
		{"empty secret", []string{""}, "plain text", "plain text"},
		{"whole stream", []string{"hunter2"}, "hunter2", "***"},
		{"in a line", []string{"hunter2"}, "pw=hunter2;\n", "pw=***;\n"},
		{"nearly the secret", []string{"hunter2"}, "hunter3 hunter", "hunter3 hunter"},
		{"neighbours become one", []string{"hunter2"}, "hunter2hunter2", "***"},
		{"overlapping itself", []string{"abcab"}, "xabcabcabx", "x***x"},
		{"overlapping each other", []string{"abcd", "cdef"}, "xabcdefx", "x***x"},
		{"one inside the other", []string{"bcde", "abcdef"}, "abcdef abcdex", "*** a***x"},
		{"longer one fails late", []string{"abcdefgh", "cdef"}, "abcdefgx", "ab***gx"},
		{"masked inside what is held back", []string{"abcd", "xabcdyabcdz1"}, "xabcdyabcdz", "x***y***z"},
		{"too short", []string{"abc"}, "abc", "abc"},
		{"too short in bytes only", []string{"äöü"}, "äöü", "***"},
		{"white space does not count", []string{" \t a \n"}, " \t a \n", " \t a \n"},
		{"trailing newline of a secret file", []string{"hunter2\n"}, "pw hunter2 and hunter2\n", "pw *** and ***"},
		{"multi-line", []string{multi}, "a\n" + multi + "b\n", "a\n***b\n"},
		{"multi-line on a terminal", []string{multi}, "a\n" + strings.ReplaceAll(multi, "\n", "\r\n") + "b\n", "a\n***b\n"},
		{"one line of it", []string{multi}, "  MIIEvQIBADANBg  \n}\n", "  ***  \n}\n"},
		{"indented lines of it", []string{"  first: 1\n  second: 2\n"}, "x first: 1 x", "x *** x"},
		{"line without letter or digit", []string{"first\n-----\nlast"}, "-----", "-----"},
		{"url query", []string{"a b&c/d"}, "q=a+b%26c%2Fd q=a+b%26c%2fd", "q=*** q=***"},
		{"url path", []string{"a b&c/d"}, "/a%20b&c%2Fd", "/***"},
		{"json", []string{`say "x"<y>`}, `{"k":"say \"x\"<y>"} {"k":"say \"x\"\u003cy\u003e"}`, `{"k":"***"} {"k":"***"}`},
		{"json, ASCII only", []string{"päss😀"}, `p\u00e4ss\ud83d\ude00`, "***"},
		{"json newline", []string{"aa\nbb"}, `"aa\nbb"`, `"***"`},
		{"shell, single quotes", []string{"it's me"}, `'it'\''s me' 'it'"'"'s me'`, `'***' '***'`},
		{"shell, backslashes", []string{"a$b c"}, `a\$b\ c`, "***"},
		{"shell, control characters", []string{"aa\nb'b\x01"}, `$'aa\nb\'b\001'`, `$'***'`},
		{"not UTF-8", []string{"\xff\xfe\xfd\x00"}, "a\xff\xfe\xfd\x00b", "a***b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mask := logs.NewMask(tt.secrets)
			if diff := cmp.Diff(tt.want, mask.String(tt.in)); diff != "" {
				t.Errorf("String (-want +got):\n%s", diff)
			}
			everySplit(t, mask, tt.in, tt.want)
		})
	}
}

// everySplit checks that want comes out however in is cut into two writes, and byte by byte.
func everySplit(t *testing.T, mask *logs.Mask, in, want string) {
	t.Helper()
	for i := range len(in) + 1 {
		if got := maskWrites(t, mask, in[:i], in[i:]); got != want {
			t.Fatalf("split at %d: got %q, want %q", i, got, want)
		}
	}
	if got := maskWrites(t, mask, strings.Split(in, "")...); got != want {
		t.Fatalf("byte by byte: got %q, want %q", got, want)
	}
}

func maskWrites(t *testing.T, mask *logs.Mask, writes ...string) string {
	t.Helper()
	var out bytes.Buffer
	w := mask.Writer(&out)
	for _, s := range writes {
		if n, err := io.WriteString(w, s); n != len(s) || err != nil {
			t.Fatalf("Write(%q) = %d, %v", s, n, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return out.String()
}

func TestMaskFindsBase64InEveryAlignment(t *testing.T) {
	const secret = "s3cr?t>v~lue"
	mask := logs.NewMask([]string{secret})
	for before := range 6 {
		for after := range 4 {
			data := strings.Repeat("u", before) + secret + strings.Repeat(":", after)
			for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawURLEncoding} {
				text := enc.EncodeToString([]byte(data))
				out := mask.String(text)
				if !strings.Contains(out, "***") {
					t.Errorf("%s: not masked", text)
				}
				// What is left are the neighbours and at most two characters at each border.
				if left, most := len(out)-3, enc.EncodedLen(before)+enc.EncodedLen(after)+4; left > most {
					t.Errorf("%s: %s leaves %d characters, want at most %d", text, out, left, most)
				}
			}
		}
	}
}

func TestMaskFindsWrappedBase64(t *testing.T) {
	secret := strings.Repeat("0123456789abcdefghij", 12)
	mask := logs.NewMask([]string{secret})
	for _, columns := range []int{64, 76} {
		var text strings.Builder
		for i, c := range base64.StdEncoding.EncodeToString([]byte(secret)) {
			if i > 0 && i%columns == 0 {
				text.WriteByte('\n')
			}
			text.WriteRune(c)
		}
		for line := range strings.Lines(mask.String(text.String())) {
			if line = strings.TrimSpace(line); line != "***" {
				t.Errorf("%d columns: line %q is not masked", columns, line)
			}
		}
	}
}

func TestMaskHoldsBackOnlyWhatMayBecomeASecret(t *testing.T) {
	var out bytes.Buffer
	w := logs.NewMask([]string{"hunter2"}).Writer(&out)
	for _, step := range []struct{ write, passed string }{
		{"user root\n", "user root\n"},
		{"hunt", ""},
		{"ing\n", "hunting\n"},
		{"hhunt", "h"},
		{"er2", "***"},
		{".", "."},
		{"hunter2", "***"},
		{"hunter", ""},
		{"2.", "."}, // neighbours are one
	} {
		out.Reset()
		if _, err := io.WriteString(w, step.write); err != nil {
			t.Fatal(err)
		}
		if out.String() != step.passed {
			t.Errorf("after %q: passed on %q, want %q", step.write, out.String(), step.passed)
		}
	}
}

func TestMaskCountsWeakSecrets(t *testing.T) {
	if got := logs.NewMask([]string{"", "a", "abc", " abc\n", "abcd"}).Weak(); got != 3 {
		t.Errorf("Weak() = %d, want 3", got)
	}
}

func TestNilMaskPassesThrough(t *testing.T) {
	var mask *logs.Mask
	if got := mask.String("hunter2"); got != "hunter2" || mask.Weak() != 0 {
		t.Errorf("String = %q, Weak = %d", got, mask.Weak())
	}
}

func TestMaskWriterReturnsTheErrorBelow(t *testing.T) {
	full := errors.New("disk full")
	w := logs.NewMask([]string{"hunter2"}).Writer(failingWriter{full})
	if _, err := io.WriteString(w, "text"); !errors.Is(err, full) {
		t.Errorf("Write: got %v, want %v", err, full)
	}
	if _, err := io.WriteString(w, "hunt"); err != nil {
		t.Errorf("Write of what is held back: %v", err)
	}
	if err := w.Close(); !errors.Is(err, full) {
		t.Errorf("Close: got %v, want %v", err, full)
	}
}

type failingWriter struct{ err error }

func (f failingWriter) Write([]byte) (int, error) { return 0, f.err }

// FuzzMask compares the automaton with a quadratic search, over two cuts of the input: what comes
// out in the end, and that after each write as much has come out as can be known by then.
func FuzzMask(f *testing.F) {
	f.Add("hunter2", "correct horse", "pw hunter2correct horse\n", 5, 9)
	f.Add("abcd", "xabcdyabcdz1", "xabcdyabcdzabcdxabcdyabcdz1", 7, 11)
	f.Add("aaaa", "aaaaab", "aaaaaaaabaaaac", 3, 4)
	f.Add("line one\nline 2\n", "it's", "line one\r\nline 2 it'\\''s bGluZSBvbmUKbGluZSAyCg==", 1, 2)
	f.Add("hunter2", "hunter2 and hunter3", "hunter2 and hunter2 and hunter3", 7, 15)
	f.Fuzz(func(t *testing.T, a, b, in string, i, j int) {
		if len(a)+len(b) > 200 || len(in) > 2000 {
			return // the reference is too slow for this
		}
		cut := func(i int) int { return int(uint(i) % uint(len(in)+1)) }
		lo, hi := min(cut(i), cut(j)), max(cut(i), cut(j))
		var out bytes.Buffer
		patterns := patternsOf(a, b)
		w := logs.NewMask([]string{a, b}).Writer(&out)
		for _, part := range [][2]int{{0, lo}, {lo, hi}, {hi, len(in)}} {
			if _, err := io.WriteString(w, in[part[0]:part[1]]); err != nil {
				t.Fatal(err)
			}
			if want := maskSlowly(patterns, in[:part[1]], true); out.String() != want {
				t.Fatalf("after %q\ngot  %q\nwant %q", in[:part[1]], out.String(), want)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if want := maskSlowly(patterns, in, false); out.String() != want {
			t.Errorf("got  %q\nwant %q", out.String(), want)
		}
	})
}

// FuzzMaskAdd adds a secret in the middle: of what was held back then, and of what comes, nothing may
// be left of either secret.
func FuzzMaskAdd(f *testing.F) {
	f.Add("hunter2", "er2.0", "hunt", "er2.0 hunter2")
	f.Add("hunter2", "hunter2 and 3", "hunter2 an", "d 3.")
	f.Add("abcd", "cdef", "xabc", "def")
	f.Fuzz(func(t *testing.T, a, b, before, after string) {
		if len(a)+len(b) > 200 || len(before)+len(after) > 1000 {
			return
		}
		var out bytes.Buffer
		mask := logs.NewMask([]string{a})
		w := mask.Writer(&out)
		if _, err := io.WriteString(w, before); err != nil {
			t.Fatal(err)
		}
		passed := out.String()
		mask.Add([]string{b})
		if _, err := io.WriteString(w, after); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		// What was passed on is what the first secret alone makes of it.
		if want := maskSlowly(patternsOf(a), before, true); passed != want {
			t.Fatalf("passed %q, want %q", passed, want)
		}
		held := heldBack(patternsOf(a), before)
		masked := maskedBytes(patternsOf(a), before+after)
		for i, m := range maskedBytes(patternsOf(a, b), before[held:]+after) {
			masked[held+i] = masked[held+i] || m
		}
		if want := renderMasked(before+after, masked); out.String() != want {
			t.Errorf("got  %q\nwant %q", out.String(), want)
		}
	})
}

// patternsOf are all forms of the secrets that are long enough.
func patternsOf(secrets ...string) []string {
	var all []string
	for _, secret := range secrets {
		if len(strings.TrimSpace(secret)) >= 4 {
			all = append(all, logs.Forms(secret)...)
		}
	}
	return all
}

// maskSlowly masks in; with open, as much of it as can be known while more may come.
func maskSlowly(patterns []string, in string, open bool) string {
	masked, end := maskedBytes(patterns, in), len(in)
	if open {
		end = heldBack(patterns, in)
		for end < len(in) && masked[end] {
			end++
		}
	}
	return renderMasked(in[:end], masked[:end])
}

// heldBack is where the longest end of in begins that begins one of the patterns.
func heldBack(patterns []string, in string) int {
	for i := 0; i < len(in); i++ { // bytes, not runes
		for _, pattern := range patterns {
			if strings.HasPrefix(pattern, in[i:]) {
				return i
			}
		}
	}
	return len(in)
}

func maskedBytes(patterns []string, in string) []bool {
	masked := make([]bool, len(in))
	for _, form := range patterns {
		for i := 0; i < len(in); i++ {
			if strings.HasPrefix(in[i:], form) {
				for k := range form {
					masked[i+k] = true
				}
			}
		}
	}
	return masked
}

func renderMasked(in string, masked []bool) string {
	var out strings.Builder
	for i := range len(in) {
		switch {
		case !masked[i]:
			out.WriteByte(in[i])
		case i == 0 || !masked[i-1]:
			out.WriteString("***")
		}
	}
	return out.String()
}
