package logs_test

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"math/rand/v2"
	"net/url"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stepexec/stepexec/logs"
)

// Whatever stands in the middle of a secret without showing must not hide it: what shows the line leaves it
// out, and a person reads the secret.
func TestMaskFindsSecretsThatAreCutUpInvisibly(t *testing.T) {
	const secret = "hunter2-and-more"
	between := map[string]string{
		"colour":                    "\x1b[01;31m",
		"grep's clear":              "\x1b[m\x1b[K",
		"cursor":                    "\x1b[2;5H",
		"private mode":              "\x1b[?25l",
		"charset":                   "\x1b(B",
		"two characters":            "\x1b7",
		"title":                     "\x1b]0;a title\a",
		"hyperlink":                 "\x1b]8;;http://x/\x1b\\",
		"device control":            "\x1bPq#0\x1b\\",
		"bell":                      "\a",
		"backspace":                 "\b",
		"carriage return":           "\r",
		"line end":                  "\n",
		"line end of a terminal":    "\r\n",
		"NUL":                       "\x00",
		"tab":                       "\t",
		"delete":                    "\x7f",
		"C1 control":                "\u009b",
		"zero width space":          "\u200b",
		"zero width joiner":         "\u200d",
		"soft hyphen":               "\u00ad",
		"byte order mark":           "\ufeff",
		"right to left":             "\u202e",
		"isolate":                   "\u2066",
		"variation selector":        "\ufe0f",
		"lone ESC":                  "\x1b\x01",
		"several":                   "\x1b[1m\a\u200b\x1b[0m",
		"aborted string":            "\x1b\x18",
		"shift out and in":          "\x0e\x0f",
		"line separator":            "\u2028",
		"an emoji's own, elsewhere": "",
	}
	mask := logs.NewMask([]string{secret})
	for name, cut := range between {
		t.Run(name, func(t *testing.T) {
			for _, at := range []int{4, 7, len(secret) - 1} {
				in := "pw=" + secret[:at] + cut + secret[at:] + ";\n"
				if got := mask.String(in); got != "pw=***;\n" {
					t.Errorf("%q became %q", in, got)
				}
				everySplit(t, mask, in, "pw=***;\n")
			}
		})
	}
}

func TestMaskFindsSecretsInsideControlStrings(t *testing.T) {
	mask := logs.NewMask([]string{"hunter2hunter2"})
	for in, want := range map[string]string{
		"\x1b]8;;https://me:hunter2hunter2@host/\x1b\\link\x1b]8;;\x1b\\":   "\x1b]8;;https://me:***@host/\x1b\\link\x1b]8;;\x1b\\",
		"\x1b]52;c;aHVudGVyMmh1bnRlcjI=\a.":                                 "\x1b]52;c;***\a.",
		"\x1b]0;no end hunter2hunter2\n":                                    "\x1b]0;no end ***\n",
		"\x1b]0;" + strings.Repeat("x", 70<<10) + "\x1b[1mhunter2hunter2\n": "\x1b]0;" + strings.Repeat("x", 70<<10) + "\x1b[1m***\n",
	} {
		if got := mask.String(in); got != want {
			t.Errorf("%.100q became %.100q", in, got)
		}
		if len(in) < 1000 {
			everySplit(t, mask, in, want)
		}
	}
}

// A line must not be kept from whoever waits for it because it ends like a secret begins.
func TestMaskPassesOnWholeLines(t *testing.T) {
	var out bytes.Buffer
	w := logs.NewMask([]string{"hunter2hunter2"}).Writer(&out)
	for _, step := range []struct{ write, passed, flushed string }{
		{"such\n", "such\n", ""},
		{"the hun\n", "the hun\n", ""},
		{"the hunt\n", "the ", "hunt\n"},
		{"er2hunter2\n", "***", "\n"}, // the rest of one whose beginning was passed on
		{"the hunt", "the ", ""},
		{"\ner2hunter2.\n", "***.\n", ""},
		{"progress \x1b[1", "progress ", ""}, // the sequence may end, and go on with a secret
		{"m.", "\x1b[1m.", ""},
	} {
		out.Reset()
		if _, err := io.WriteString(w, step.write); err != nil {
			t.Fatal(err)
		}
		if out.String() != step.passed {
			t.Errorf("after %q: passed on %q, want %q", step.write, out.String(), step.passed)
		}
		out.Reset()
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if out.String() != step.flushed {
			t.Errorf("after %q and Flush: passed on %q, want %q", step.write, out.String(), step.flushed)
		}
	}
}

func TestMaskFindsEncodings(t *testing.T) {
	const secret = `p&s<s>w"r'd/0 $x\y+ü`
	twice := url.QueryEscape(url.QueryEscape(secret))
	var unicode strings.Builder
	for _, r := range secret {
		fmt.Fprintf(&unicode, `\u%04x`, r)
	}
	spaced := strings.TrimSpace(strings.ReplaceAll(fmt.Sprintf("% x", secret), "  ", " "))
	for name, text := range map[string]string{
		"hex":                      hex.EncodeToString([]byte(secret)),
		"hex, upper case":          strings.ToUpper(hex.EncodeToString([]byte(secret))),
		"hex, with spaces":         spaced,
		"hex, with colons":         strings.ReplaceAll(spaced, " ", ":"),
		"hex, escaped":             `\x` + strings.ReplaceAll(spaced, " ", `\x`),
		"html":                     html.EscapeString(secret),
		"html, xml":                strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;").Replace(secret),
		"html, Python":             strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#x27;").Replace(secret),
		"html, text":               strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(secret),
		"url twice":                twice,
		"url twice, with %20":      url.PathEscape(strings.ReplaceAll(url.QueryEscape(secret), "+", "%20")),
		"json, all of it":          unicode.String(),
		"json, PHP with all flags": strings.NewReplacer("&", `\u0026`, "<", `\u003c`, ">", `\u003e`, `"`, `\u0022`, "'", `\u0027`, `\`, `\\`).Replace(secret),
		"base64":                   base64.StdEncoding.EncodeToString([]byte(secret)),
		"base32":                   base32.StdEncoding.EncodeToString([]byte(secret))[:len(secret)*8/5],
		"numbers, Go":              strings.Trim(fmt.Sprint([]byte(secret)), "[]"),
		"numbers, Python":          strings.ReplaceAll(strings.Trim(fmt.Sprint([]byte(secret)), "[]"), " ", ", "),
		"numbers, C":               strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", []byte(secret)), "[]byte{0x"), "}"),
		"json in json":             inner(asJSON(asJSON(secret))),
		"json in html":             html.EscapeString(inner(asJSON(secret))),
		"html in json":             inner(asJSON(html.EscapeString(secret))),
		"url in json":              inner(asJSON(strings.ReplaceAll(url.QueryEscape(secret), "+", "%20"))),
		"octal, as git and bash":   strings.NewReplacer(`\`, `\\`, `"`, `\"`, "ü", `\303\274`).Replace(secret),
		"Python's ascii":           strings.NewReplacer(`\`, `\\`, "'", `\'`, "ü", `\xfc`).Replace(secret),
		"characters, Python":       pythonList(secret),
		"characters, JavaScript":   strings.Trim(asJSON(strings.Split(secret, "")), `[]"`),
		"numbers of characters":    strings.Trim(strings.ReplaceAll(fmt.Sprint([]rune(secret)), " ", ","), "[]"),
		"hex, as .NET":             strings.ToUpper(strings.ReplaceAll(spaced, " ", "-")),
		"doubled quotes, as SQL":   strings.ReplaceAll(secret, "'", "''"),
		"doubled quotes, as CSV":   strings.ReplaceAll(secret, `"`, `""`),
		"XML's numbers":            strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "ü", "&#xfc;").Replace(secret),
		"percent, as JavaScript":   strings.NewReplacer("ü", "%u00FC").Replace(strings.ReplaceAll(url.PathEscape(secret), "%C3%BC", "ü")),
		"make":                     strings.ReplaceAll(secret, "$", "$$"),
		"words wrapped":            strings.ReplaceAll(secret, " ", "\n"),
	} {
		t.Run(name, func(t *testing.T) {
			mask := logs.NewMask([]string{secret})
			if got := mask.String("(" + text + ")"); got != "(***)" {
				t.Errorf("%q became %q", text, got)
			}
			everySplit(t, mask, "("+text+")", "(***)")
		})
	}
}

// pythonList is what Python prints of a list of a text's characters, without what is around the first and the last.
func pythonList(text string) string {
	var all []string
	for _, r := range text {
		all = append(all, strings.NewReplacer("'", `"'"`, `\`, `'\\'`).Replace(string(r)))
		if last := len(all) - 1; len(all[last]) < 3 {
			all[last] = "'" + all[last] + "'"
		}
	}
	return strings.Trim(strings.Join(all, ", "), "'")
}

func asJSON(text any) string {
	out, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(out)
}

// inner is a JSON string, even a nested one, without its quotes.
func inner(text string) string { return strings.Trim(text, `\"`) }

// A text that only looks like a secret once spaces, quotes and escapes are gone stays as it is.
func TestMaskLeavesOrdinaryTextAlone(t *testing.T) {
	mask := logs.NewMask([]string{"test", "hunter2", `te"st`, "p@ss", "root root"})
	for _, text := range []string{
		"a plate started", "te st", "h unter2", "hunt er2", "p @ss", "rootroot", "%2 &am &nope; \\x \\u12 100%",
	} {
		if got := mask.String(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// base64(1) of a longer text breaks lines wherever its columns end, also in the middle of what is a secret's.
func TestMaskFindsBase64ThatIsWrappedAnywhere(t *testing.T) {
	const secret = "correct-horse-battery-staple"
	mask := logs.NewMask([]string{secret})
	for before := range 90 {
		text := strings.Repeat("u", before) + secret + strings.Repeat("v", 40)
		for _, tool := range [][]string{{"base64"}, {"base64", "-w64"}, {"xxd", "-p"}, {"openssl", "base64"}} {
			if _, err := exec.LookPath(tool[0]); err != nil {
				continue
			}
			if tool[0] != "base64" && before%10 != 0 {
				continue
			}
			cmd := exec.CommandContext(t.Context(), tool[0], tool[1:]...)
			cmd.Stdin = strings.NewReader(text)
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			masked := mask.String(string(out))
			left := strings.NewReplacer("\n", "", "*", "").Replace(masked)
			if !strings.Contains(masked, "***") || len(left) > len(out)-len(secret) {
				t.Errorf("%v, %d bytes before: %q leaves %q", tool, before, out, masked)
			}
		}
	}
}

// What grep --color prints is the text with sequences around, and in, what it found.
func TestMaskFindsWhatGrepColours(t *testing.T) {
	mask := logs.NewMask([]string{"hunter2hunter2"})
	for _, pattern := range []string{"unter2hu", "r2", "h", "2$"} {
		cmd := exec.CommandContext(t.Context(), "grep", "--color=always", pattern)
		cmd.Stdin = strings.NewReader("password hunter2hunter2\n")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if masked := logs.Sanitize(strings.TrimSpace(mask.String(string(out)))); strings.Contains(masked, "2h") || strings.Contains(masked, "unt") {
			t.Errorf("grep %s: %q leaves %q", pattern, out, masked)
		}
	}
}

// macOS takes letters and accents apart in names of files, and what is typed has them composed.
func TestMaskFindsLettersWithTheirAccentsApart(t *testing.T) {
	const composed, apart = "p\u00e4ssw\u00f6rt-g\u1eb1heim", "pa\u0308sswo\u0308rt-ga\u0306\u0300heim"
	for _, secret := range []string{composed, apart, "first\n" + composed + "\nlast"} {
		mask := logs.NewMask([]string{secret})
		for _, text := range []string{composed, apart, url.QueryEscape(apart), strings.Trim(strconv.QuoteToASCII(composed), `"`)} {
			if got := mask.String("(" + text + ")"); got != "(***)" {
				t.Errorf("of %q, %q became %q", secret, text, got)
			}
		}
	}
}

func TestMaskOfMuchIsSmallAndBounded(t *testing.T) {
	one := strings.Repeat("0123456789abcdefghijklmnopqrstuvwxyz\x01\xff/+'\"", 1<<20/42)
	mask := logs.NewMask([]string{one})
	in := "a" + one + "b" + base64.StdEncoding.EncodeToString([]byte(one)) + "c"
	if got := mask.String(in); got != "a***b***c" {
		t.Errorf("a secret of 1 MB: %d bytes are left", len(got))
	}
	same := strings.Repeat("A", 1<<16)
	mask = logs.NewMask([]string{same + "B"})
	if got := mask.String(strings.Repeat(same, 4) + "\n"); strings.Count(got, "A") > 3<<16 {
		t.Errorf("a secret that repeats itself: %d bytes are left", len(got))
	}
}

// With many secrets the index keeps less of each, and looks at their texts again.
func TestMaskOfManySecretsFindsAllForms(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	var secrets []string
	for i := range 100 {
		if _, secret, _ := walk(rnd); logs.NewMask([]string{secret}).Weak() == 0 {
			secrets = append(secrets, secret)
		}
		secrets = append(secrets, fmt.Sprintf("token_of_the_same_kind_%04d&more", i), fmt.Sprintf("pass%04d", i))
	}
	mask := logs.NewMask(secrets)
	for _, secret := range secrets {
		for _, text := range append(logs.VisibleForms(strings.TrimSpace(secret)), logs.Encodings(strings.TrimSpace(secret))...) {
			if got := mask.String("(" + text + ")"); got != "(***)" {
				t.Fatalf("%q became %q", text, got)
			}
		}
	}
	for _, secret := range secrets[:9] {
		if text := "(" + url.QueryEscape(secret) + ")"; strings.Trim(secret, " \n'\"\\$+") == secret {
			everySplit(t, mask, text, "(***)")
		}
	}
	if text := "token_of_the_same_kind_x pass00123 PASS0012"; mask.String(text) != strings.Replace(text, "pass0012", "***", 1) {
		t.Errorf("%q became %q", text, mask.String(text))
	}
}

// FuzzMask takes a random walk over secrets, cuts, encodings and what may stand in between, and compares
// with a slow search in the text as a regular expression leaves it.
func FuzzMask(f *testing.F) {
	f.Add("hunter2", "correct horse", "pw hunter2correct horse\n", 5, 9)
	f.Add("abcd", "xabcdyabcdz1", "xabcdyabcdzabcdxabcdyabcdz1", 7, 11)
	f.Add("aaaa", "aaaaab", "aaaaaaaabaaaac", 3, 4)
	f.Add("line one\nline 2\n", "it's", "line one\r\nline 2 it'\\''s bGluZSBvbmUKbGluZSAyCg==", 1, 2)
	f.Add("hunter2", "hunter2 and hunter3", "hunter2 and hunter2 and hunter3", 7, 15)
	f.Add("half and half", "xy", "half \x1b[Kand\x1b]0;t\a half\u200b", 6, 12)
	for seed := range uint64(200) {
		a, b, in := walk(rand.New(rand.NewPCG(seed, 1)))
		f.Add(a, b, in, int(seed*7), int(seed*13))
	}
	f.Fuzz(func(t *testing.T, a, b, in string, i, j int) {
		if len(a)+len(b) > 200 || len(in) > 2000 {
			return // the reference is too slow for this
		}
		cut := func(i int) int { return int(uint(i) % uint(len(in)+1)) }
		lo, hi := min(cut(i), cut(j)), max(cut(i), cut(j))
		var out bytes.Buffer
		mask := logs.NewMask([]string{a, b})
		w := mask.Writer(&out)
		r := newReference(in, a, b)
		masked := mask.Masked(in)
		// The reference reads escapes in one way only, and no dumps.
		mayBeMore := strings.ContainsAny(a+b+in, `\%&`) || regexp.MustCompile(`(?i)0x|[0-9a-f]{6}`).MatchString(in)
		for i := range masked {
			if r.masked[i] && !masked[i] || masked[i] && !r.masked[i] && !mayBeMore {
				t.Fatalf("got  %q\nwant %q", renderMasked(in, masked), renderMasked(in, r.masked))
			}
		}
		want := renderMasked(in, masked)
		for _, part := range [][2]int{{0, lo}, {lo, hi}, {hi, len(in)}} {
			if _, err := io.WriteString(w, in[part[0]:part[1]]); err != nil {
				t.Fatal(err)
			}
			if !r.wrapped && !strings.HasPrefix(want, out.String()) {
				t.Fatalf("after %q\ngot  %q\nof   %q", in[:part[1]], out.String(), want)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if r.wrapped {
			if left := newReference(out.String(), a, b); left.any && !strings.Contains(in, "***") {
				t.Errorf("of %q, cut at %d and %d\nsecrets %q %q\nleft over: %q", in, lo, hi, a, b, out.String())
			}
		} else if out.String() != want {
			t.Errorf("got  %q\nwant %q", out.String(), want)
		}
	})
}

// FuzzMaskAdd adds a secret in the middle: of what is held back then, and of what comes, nothing may be left of
// either secret.
func FuzzMaskAdd(f *testing.F) {
	f.Add("hunter2", "er2.0", "hunt", "er2.0 hunter2")
	f.Add("hunter2", "hunter2 and 3", "hunter2 an", "d 3.")
	f.Add("abcd", "cdef", "xabc", "def")
	f.Fuzz(func(t *testing.T, a, b, before, after string) {
		if len(a)+len(b) > 200 || len(before)+len(after) > 1000 || strings.ContainsAny(before+after, "\n*") {
			return
		}
		var out bytes.Buffer
		mask := logs.NewMask([]string{a})
		w := mask.Writer(&out)
		if _, err := io.WriteString(w, before); err != nil {
			t.Fatal(err)
		}
		passed := out.Len()
		mask.Add([]string{b})
		if _, err := io.WriteString(w, after); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if newReference(out.String(), a).any {
			t.Errorf("left of the first: %q", out.String())
		}
		if newReference(out.String()[passed:], b).any {
			t.Errorf("left of the second: %q", out.String())
		}
	})
}

// walk makes two secrets and a text with pieces of them, encoded and cut up.
func walk(rnd *rand.Rand) (a, b, in string) {
	word := func() string {
		const alphabet = "abcABC012+/=&<'\"\\ $ü\n"
		var s strings.Builder
		for range 4 + rnd.IntN(24) {
			r := []rune(alphabet)
			s.WriteRune(r[rnd.IntN(len(r))])
		}
		return s.String()
	}
	a, b = word(), word()
	between := []string{"", "", "", "\x1b[31m", "\x1b[K", "\a", "\b", "\r\n", "\n", "\x1b]0;t\a", "\x1b]8;;" + strings.ReplaceAll(b, "\n", "") + "\x1b\\", "\u200b", "\x1b", "\xff"}
	var s strings.Builder
	for range 3 + rnd.IntN(5) {
		text := []string{a, b}[rnd.IntN(2)]
		switch rnd.IntN(6) {
		case 0:
			text = base64.StdEncoding.EncodeToString([]byte(word()[:rnd.IntN(4)] + text + "x"))
		case 1:
			text = hex.EncodeToString([]byte(text))
		case 2:
			text = url.QueryEscape(text)
		case 3:
			text = text[:rnd.IntN(len(text))]
		}
		for _, c := range []byte(text) {
			if rnd.IntN(6) == 0 {
				s.WriteString(between[rnd.IntN(len(between))])
			}
			s.WriteByte(c)
		}
		s.WriteString([]string{"", " ", "\n", "x"}[rnd.IntN(4)])
	}
	return a, b, s.String()
}

// reference says which bytes of a text belong to secrets, slowly.
type reference struct {
	masked  []bool
	any     bool // a secret stands there as it is: what quoting hides depends on what stands in front of it
	wrapped bool // one has a line end in it behind fewer than 4 bytes: how much of it is masked depends on the writes
}

var sequence = regexp.MustCompile(`^\x1b(?:\[[ -?]*[@-~]|([\]PX^_])([^\x07\x18\x1a\x1b\n]*)(?:\x07|\x1b\\)|[ -/]+[0-~]|[0-OQ-WYZ\\` + "`" + `a-~])`)

func newReference(in string, secrets ...string) *reference {
	r := &reference{masked: make([]bool, len(in))}
	var asIs, quoted []pattern
	for _, secret := range secrets {
		trimmed := strings.TrimSpace(secret)
		if visible, _, _ := readSlowly(trimmed, nil); len(visible) < 4 {
			continue
		}
		for _, s := range []string{secret, trimmed} {
			asIs = append(asIs, patterns(logs.VisibleForms(s))...)
			if len(barePattern(s, true).text) < 4 {
				asIs = append(asIs, patterns(logs.Quotings(s))...)
			}
			quoted = append(quoted, patterns(logs.Encodings(s))...)
			letters := strings.NewReplacer("\b", "b", "\f", "f", "\n", "n", "\r", "r", "\t", "t").Replace(s)
			quoted = append(quoted, barePattern(s, true))
			if letters != s {
				quoted = append(quoted, barePattern(letters, true))
			}
		}
		if strings.Contains(trimmed, "\n") {
			for _, line := range logs.SecretLines(secret) {
				asIs = append(asIs, patterns(logs.VisibleForms(line)[:min(1, len(logs.VisibleForms(line)))])...)
				quoted = append(quoted, barePattern(line, true))
				if len(barePattern(line, true).text) < 4 {
					asIs = append(asIs, patterns(logs.Quotings(line))...)
				}
			}
		}
	}
	text, places, lines := readSlowly(in, func(from, to int) {
		inside, places, _ := readSlowly(in[from:to], nil)
		r.find(asIs, false, inside, ends(places), nil, from)
		bare, units := unescapeSlowly(inside, places)
		r.find(quoted, true, bare, units, nil, from)
	})
	r.find(asIs, false, text, ends(places), lines, 0)
	bare, units := unescapeSlowly(text, places)
	var bareLines []int
	for _, line := range lines {
		begun, over := 0, 0 // a line may end inside of what is one byte of the unescaped text
		for _, u := range units {
			if line < len(places) && u.first < places[line] {
				begun++
			}
			if line < len(places) && u.last < places[line] {
				over++
			}
		}
		bareLines = append(bareLines, begun, over)
	}
	r.find(quoted, true, bare, units, bareLines, 0)
	return r
}

// pattern is what is searched. What is found of one that is short must have the size of the secret.
type pattern struct{ text, short string }

func patterns(texts []string) (all []pattern) {
	for _, text := range texts {
		all = append(all, pattern{text: text})
	}
	return all
}

// barePattern is a secret as it is searched in an unescaped text.
func barePattern(secret string, sized bool) pattern {
	visible, places, _ := readSlowly(secret, nil)
	text, _ := unescapeSlowly(visible, places)
	p := pattern{text: text}
	if sized && len(text) < 12 {
		p.short = strings.TrimFunc(secret, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("\\'\"`$+", r) })
	}
	return p
}

// unit is what a byte of a text stands for in the stream: its first and its last byte, and how many spaces show before
// the unit and before its end.
type unit struct{ first, last, before, spaces int }

// ends are the units of a visible text.
func ends(places []int) (all []unit) {
	for _, place := range places {
		all = append(all, unit{first: place, last: place})
	}
	return all
}

var escape = regexp.MustCompile(`^(?:(&|\\+(?:046|x26|u0026|U00000026))(?:amp;)*(?:#([0-9]{1,9});|#[xX]([0-9a-fA-F]{1,8});|(lt;|gt;|quot;|apos;|nbsp;))?|` +
	`\\+([0-3][0-7]{2})|\\+x([0-9a-fA-F]{2})|\\+u([0-9a-fA-F]{4})|\\+U([0-9a-fA-F]{8})|\\+|%(?:25)*(?:[uU]([0-9a-fA-F]{4})|([0-9a-fA-F]{2}))?)`)

// unescapeSlowly returns a visible text without quoting, and the first and the last place of each of its bytes.
func unescapeSlowly(visible string, places []int) (text string, units []unit) {
	var out []byte
	for i := 0; i < len(visible); {
		c, n := visible[i], 1
		if m := escape.FindStringSubmatch(visible[i:]); m != nil {
			n = len(m[0])
			if m[1] != "" {
				c = '&'
			}
			for group, base := range map[int]int{2: 10, 3: 16, 5: 8, 6: 16, 7: 16, 8: 16, 9: 16, 10: 16} {
				if number, err := strconv.ParseUint(m[group], base, 64); m[group] != "" && err == nil {
					c = byte(min(number, 0xff))
				}
			}
			switch m[4] {
			case "lt;":
				c = '<'
			case "gt;":
				c = '>'
			case "quot;", "apos;", "nbsp;":
				c = '"'
			}
		}
		u := unit{places[i], places[i+n-1], strings.Count(visible[:i], " "), strings.Count(visible[:i+n], " ")}
		switch {
		case c >= 0x80 && len(out) > 0 && out[len(out)-1] == 0xff:
			units[len(units)-1].last, units[len(units)-1].spaces = u.last, u.spaces
		case c >= 0x80:
			out, units = append(out, 0xff), append(units, u)
		case c > ' ' && c < 0x7f && !strings.ContainsRune("\\'\"`$+", rune(c)):
			out, units = append(out, c), append(units, u)
		}
		i += n
	}
	return string(out), units
}

// find notes every place of a pattern in a text.
func (r *reference) find(patterns []pattern, quoted bool, text string, places []unit, lines []int, offset int) {
	for _, p := range patterns {
		if len(p.text) < 4 {
			continue
		}
		for i := 0; i+len(p.text) <= len(text); i++ {
			if text[i:i+len(p.text)] != p.text {
				continue
			}
			from, to := places[i], places[i+len(p.text)-1]
			first, last := offset+from.first, offset+to.last
			if p.short != "" && (last+1-first < len(p.short) || to.spaces > from.before && !strings.Contains(p.short, " ")) {
				continue
			}
			r.any = r.any || !quoted
			for at := first; at <= last; at++ {
				r.masked[at] = true
			}
			for _, line := range lines {
				if line > i && line < i+len(p.text) && line-i < 4 {
					r.wrapped = true
				}
			}
		}
	}
}

// readSlowly returns the visible text, where each of its bytes stands, and the places of line ends in it.
func readSlowly(in string, hidden func(from, to int)) (text string, places, lines []int) {
	var out []byte
	for i := 0; i < len(in); {
		if m := sequence.FindStringSubmatchIndex(in[i:]); m != nil {
			if m[4] >= 0 && m[5] > m[4] && hidden != nil {
				hidden(i+m[4], i+m[5])
			}
			i += m[1]
			continue
		}
		r, size := utf8.DecodeRuneInString(in[i:])
		switch {
		case r == '\n':
			lines = append(lines, len(out))
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == 0xad || r == 0x180e || r == 0xfeff ||
			r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2060 && r <= 0x206f || r >= 0xfe00 && r <= 0xfe0f:
		default:
			for k := range size {
				out, places = append(out, in[i+k]), append(places, i+k)
			}
		}
		i += size
	}
	return string(out), places, lines
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
