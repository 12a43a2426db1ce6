package logs

import (
	"fmt"
	"strings"
)

// shellForms returns s as shells quote it, which is what `set -x`, `export -p` and printf %q print. The outer
// quotes are left out.
func shellForms(s string) []string {
	doubleQuoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`") // export -p
	return []string{
		strings.ReplaceAll(s, "'", `'\''`),  // bash, busybox ash
		strings.ReplaceAll(s, "'", `'"'"'`), // dash, Python shlex.quote
		doubleQuoted.Replace(s),
		backslashQuote(s),
		ansiCQuote(s),
	}
}

// backslashQuote puts a backslash before every character that bash's printf %q does.
func backslashQuote(s string) string {
	var out strings.Builder
	for i, b := range []byte(s) {
		special := strings.IndexByte(" \t\"'`\\|&;()<>!{}*[]?^$,", b) >= 0
		if special || i == 0 && (b == '#' || b == '~') {
			out.WriteByte('\\')
		}
		out.WriteByte(b)
	}
	return out.String()
}

// ansiCQuote quotes s as the inside of bash's $'...', which it uses for strings with control characters.
func ansiCQuote(s string) string {
	const named = "\a\b\x1b\f\n\r\t\v\\'"
	const names = `abEfnrtv\'`
	var out strings.Builder
	for _, b := range []byte(s) {
		switch i := strings.IndexByte(named, b); {
		case i >= 0:
			out.WriteString(`\` + names[i:i+1])
		case b < 0x20 || b == 0x7f:
			fmt.Fprintf(&out, `\%03o`, b)
		default:
			out.WriteByte(b)
		}
	}
	return out.String()
}
