package logs_test

import (
	"encoding/base64"
	"os/exec"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/logs"
)

// dumpers are commands that print what they read as numbers or letters, in lines with addresses.
var dumpers = []string{
	"od", "od -b", "od -c", "od -a", "od -x", "od -t x1", "od -t x1z", "od -t x4", "od -t x8", "od -t d1", "od -t u1", "od -A x -t x1", "od -A d -c",
	"hexdump", "hexdump -C", "hexdump -b", "hexdump -c", "hexdump -x", "hexdump -o",
	"xxd", "xxd -g 1", "xxd -g 4", "xxd -u", "xxd -e", "xxd -b", "xxd -c 7", "xxd -c 40",
	"busybox od", "busybox od -c", "busybox hexdump -C", "busybox hexdump", "busybox xxd",
}

func TestMaskFindsSecretsInDumps(t *testing.T) {
	const secret = "correct-horse/battery_staple"
	mask := logs.NewMask([]string{secret})
	texts := map[string]string{
		"alone":      secret,
		"at its end": strings.Repeat("harmless words and so on ", 9) + secret,
		"in a text":  strings.Repeat("harmless\n", 3) + "password: " + secret + "\nüber\x00" + strings.Repeat("and so on ", 9),
		"as base64":  "user:" + base64.StdEncoding.EncodeToString([]byte(secret+"?")),
		"as JSON":    `{"a": "correct-horse\/battery_staple"}`,
		"twice":      "<" + secret + secret + ">",
	}
	for _, dumper := range dumpers {
		fields := strings.Fields(dumper)
		if _, err := exec.LookPath(fields[0]); err != nil {
			continue
		}
		for name, text := range texts {
			t.Run(dumper+"/"+name, func(t *testing.T) {
				cmd := exec.CommandContext(t.Context(), fields[0], fields[1:]...)
				cmd.Stdin = strings.NewReader(text)
				cmd.Env = []string{"LC_ALL=C.UTF-8"}
				out, err := cmd.Output()
				if err != nil {
					t.Fatal(err)
				}
				in := "before\n" + string(out) + "behind\n"
				got := mask.String(in)
				// Each line is as it was, or masked behind its address.
				was, is := strings.Split(in, "\n"), strings.Split(got, "\n")
				if len(was) != len(is) {
					t.Fatalf("%s\nbecame\n%s", in, got)
				}
				perLine, masked := (len(text)+len(was)-5)/max(1, len(was)-4), 0
				for i := range was {
					if is[i] == was[i] {
						continue
					}
					masked++
					address, rest, _ := strings.Cut(is[i], "***")
					if rest != "" || !strings.HasPrefix(was[i], address) || len(strings.TrimRight(address, " ")) > 9 {
						t.Errorf("%q became %q", was[i], is[i])
					}
				}
				if least := len(secret) / perLine; masked < least {
					t.Errorf("%d lines are masked, of at least %d:\n%s", masked, least, got)
				}
				for i := 0; i < len(in); i += 1 + len(in)/50 {
					if parts := maskWrites(t, mask, in[:i], in[i:]); parts != got {
						t.Fatalf("cut at %d:\n%s\nwant\n%s", i, parts, got)
					}
				}
				if parts := maskWrites(t, mask, strings.Split(in, "")...); parts != got {
					t.Fatalf("byte by byte:\n%s\nwant\n%s", parts, got)
				}
			})
		}
	}
}

// A dump that pauses is passed on line by line, and nothing but an address of a line that has not ended.
func TestMaskKeepsLinesOfADumpUntilTheyEnd(t *testing.T) {
	const dump = "00000000: 636f 7272 6563 742d 686f 7273 652d 6261  correct-horse-ba\n" +
		"00000010: \x1b[1;32m7474\x1b[0m 6572 792d 7374 6170 6c65 3b0a       ttery-staple;.\n"
	mask := logs.NewMask([]string{"correct-horse-battery-staple"})
	if got := mask.String(dump); got != "00000000: ***\n00000010: \x1b[1;32m***\n" {
		t.Errorf("%q", got)
	}
	// What comes with a pause behind each letter is masked from the second line on: a line that has ended is passed on.
	if got := maskPauses(t, mask, strings.Split(dump, "")); !strings.HasSuffix(got, "ba\n00000010: \x1b[1;32m***\n") {
		t.Errorf("%q", got)
	}
	const line = "00000000: 6875 6e74 6572 32                        hunter2\n"
	if got := maskPauses(t, logs.NewMask([]string{"hunter2"}), strings.Split(line, "")); got != "00000000: ***\n" {
		t.Errorf("%q", got)
	}
}

// Of dumps in two formats at once, and of one that pauses, only what a line has of a secret is found. A step that prints
// one can have the part on each line masked.
func TestMaskFindsPartsOfSecretsInDumpsOfTwoFormatsAndWithPauses(t *testing.T) {
	const secret, first, second = "correct-horse-battery-staple", "correct-horse-ba", "ttery-staple"
	paused := []string{
		"00000000: 636f 7272 6563 742d 686f 7273 652d 6261  correct-horse-ba\n",
		"00000010: 7474 6572 792d 7374 6170 6c65 3b0a       ttery-staple;.\n",
	}
	for name, parts := range map[string][]string{
		"xxd, pausing": paused,
		"od -tx1 -c": {`0000000  63  6f  72  72  65  63  74  2d  68  6f  72  73  65  2d  62  61
          c   o   r   r   e   c   t   -   h   o   r   s   e   -   b   a
0000020  74  74  65  72  79  2d  73  74  61  70  6c  65  3b  0a
          t   t   e   r   y   -   s   t   a   p   l   e   ;  \n
0000036
`},
		"hexdump -bc": {`0000000 143 157 162 162 145 143 164 055 150 157 162 163 145 055 142 141
0000000   c   o   r   r   e   c   t   -   h   o   r   s   e   -   b   a
0000010 164 164 145 162 171 055 163 164 141 160 154 145 073 012        
0000010   t   t   e   r   y   -   s   t   a   p   l   e   ;  \n        
000001e
`},
	} {
		t.Run(name, func(t *testing.T) {
			in := strings.Join(parts, "")
			shown := strings.Split(in, "\n")[0] + "\n"
			if got := maskPauses(t, logs.NewMask([]string{secret}), parts); !strings.HasPrefix(got, shown) {
				t.Errorf("the guide says that the first line is shown:\n%s", got)
			}
			got := maskPauses(t, logs.NewMask([]string{secret, first, second}), parts)
			for _, left := range []string{"63", "143", "74", "164", "o", "t"} {
				if strings.Contains(got, left) {
					t.Errorf("with its parts masked, %q is left:\n%s", left, got)
				}
			}
		})
	}
	if got := logs.NewMask([]string{secret}).String(strings.Join(paused, "")); strings.Contains(got, "6") {
		t.Errorf("without a pause:\n%s", got)
	}
}

// Lines that only begin with digits are not kept from whoever waits for them.
func TestMaskPassesOnWhatIsNoDump(t *testing.T) {
	mask := logs.NewMask([]string{"hunter2"})
	for _, text := range []string{
		"1234567 bytes left? ", "00000000: ", "20261130 12:00:01 password? ", "0x7f: ", "0123456789abcdef0123456789abcdef  file",
		"123456% ", "abcdef", "1234567 99 bottles", "000000 " + strings.Repeat("00 ", 400),
	} {
		if got := flushed(t, mask, text); got != text {
			t.Errorf("of %q, %q is passed on", text, got)
		}
	}
}

// flushed is what a writer passes on before it is closed.
func flushed(t *testing.T, mask *logs.Mask, text string) string {
	t.Helper()
	var out strings.Builder
	w := mask.Writer(&out)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
