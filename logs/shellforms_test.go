package logs_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/logs"
)

// What real shells print of a secret, traced or quoted, must not give it away.
func TestMaskFindsWhatShellsPrint(t *testing.T) {
	shells := [][]string{{"bash"}, {"dash"}, {"busybox", "sh"}}
	scripts := map[string]string{
		"echo":    `printf '[%s]\n' "$SECRET"`,
		"trace":   `set -x; : "$SECRET"`,
		"assign":  `set -x; COPY=$SECRET`,
		"set":     `COPY=$SECRET; set | grep -A9 ^COPY=`,
		"export":  `export -p`,
		"base64":  `printf %s "$SECRET" | base64`,
		"basic":   `printf user:%s "$SECRET" | base64 -w0`,
		"percent": `command -v printf | grep -q printf && printf %q "$SECRET" 2>/dev/null || true`,
	}
	secrets := map[string]string{
		"word":     "hunter2hunter2",
		"quotes":   `it's "quoted" \ back`,
		"specials": "a!b#c$d%e&f(g)h*i+j,k-l.m/n:o;p<q=r>s?t@u[v]w^x_y`z{0|1}2~3",
		"hash":     "#~start",
		"lines":    "first line\nsecond 'line'\nthird",
		"tab":      "col1\tcol2\x7fcol3",
		"utf8":     "pässwörd geheim",
	}
	for _, shell := range shells {
		for script, text := range scripts {
			for name, secret := range secrets {
				t.Run(shell[0]+"/"+script+"/"+name, func(t *testing.T) {
					cmd := exec.CommandContext(t.Context(), shell[0], append(shell[1:], "-c", text)...)
					cmd.Env = []string{"SECRET=" + secret, "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"}
					out, err := cmd.CombinedOutput()
					if err != nil {
						t.Fatalf("%v: %s", err, out)
					}
					masked := logs.NewMask([]string{secret}).String(string(out))
					if len(out) > 0 && !strings.Contains(masked, "***") {
						t.Errorf("nothing masked in %q", out)
					}
					for _, word := range []string{"hunter2", "quoted", "back", "b#c", "u[v", "z{0", "start", "first", "second", "third", "col1", "col3", "geheim"} {
						if strings.Contains(secret, word) && strings.Contains(masked, word) {
							t.Errorf("%q is left in %q, of %q", word, masked, out)
						}
					}
				})
			}
		}
	}
}
