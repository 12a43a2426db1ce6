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
		{"trailing newline of a secret file", []string{"hunter2\n"}, "pw hunter2 and hunter2\n", "pw *** and ***\n"},
		{"multi-line", []string{multi}, "a\n" + multi + "b\n", "a\n***\nb\n"},
		{"multi-line on a terminal", []string{multi}, "a\n" + strings.ReplaceAll(multi, "\n", "\r\n") + "b\n", "a\n***\r\nb\n"},
		{"one line of it", []string{multi}, "  MIIEvQIBADANBg  \n}\n", "  ***  \n}\n"},
		{"indented lines of it", []string{"  first: 1\n  second: 2\n"}, "x first: 1 x", "x *** x"},
		{"line without letter or digit", []string{"first\n-----\nlast"}, "-----", "-----"},
		{"url query", []string{"a b&c/d"}, "q=a+b%26c%2Fd q=a+b%26c%2fd", "q=*** q=***"},
		{"url path", []string{"a b&c/d"}, "/a%20b&c%2Fd", "/***"},
		{"url query as URLSearchParams writes it", []string{"a*b!c&d"}, "q=a*b%21c%26d", "q=***"},
		{"json", []string{`say "x"<y>`}, `{"k":"say \"x\"<y>"} {"k":"say \"x\"\u003cy\u003e"}`, `{"k":"***"} {"k":"***"}`},
		{"json, ASCII only", []string{"päss😀"}, `p\u00e4ss\ud83d\ude00`, "***"},
		{"json newline", []string{"aa\nbb"}, `"aa\nbb"`, `"***"`},
		{"shell, single quotes", []string{"it's me"}, `'it'\''s me' 'it'"'"'s me'`, `'***' '***'`},
		{"shell, backslashes", []string{"a$b c"}, `a\$b\ c`, "***"},
		{"shell, control characters", []string{"aa\nb'b\x01"}, `$'aa\nb\'b\001'`, `$'***001'`},
		{"not UTF-8", []string{"\xff\xfe\xfd\x00\xfc"}, "a\xff\xfe\xfd\x00\xfcb", "a***b"},
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
		if out := mask.String(text.String()); out != "***" {
			t.Errorf("%d columns: %q is not masked", columns, out)
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

// The beginning of a secret, and behind it nothing but what a secret may have inside, is not kept for ever.
func TestWhatIsHeldBackIsBounded(t *testing.T) {
	const secret = "correct-horse-battery-staple"
	for name, fill := range map[string]string{"spaces": " ", "line ends": "\n", "quotes": `"`, "backslashes": `\`, "control sequences": "\x1b[0m"} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			w := logs.NewMask([]string{secret}).Writer(&out)
			write := func(text []byte) {
				if _, err := w.Write(text); err != nil {
					t.Fatal(err)
				}
			}
			write([]byte(secret[:20]))
			chunk := bytes.Repeat([]byte(fill), 1<<20/len(fill))
			for range 8 {
				write(chunk)
			}
			if out.Len() == 0 {
				t.Error("8 MiB are held back")
			}
			write([]byte(" then " + secret + "."))
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if text := out.String(); strings.Contains(text, secret[:6]) || !strings.HasPrefix(text, "***") || !strings.HasSuffix(text, " then ***.") {
				t.Errorf("%.40q … %q", text, text[max(0, len(text)-40):])
			}
		})
	}
}
