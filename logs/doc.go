// Package logs takes what a container writes from its FIFO to masked lines.
//
//	container ─▶ FIFO ─▶ MaskWriter ─▶ Lines ─▶ emit(line)
//
// Masking comes before lines are split, on the byte stream, so that a secret is found wherever
// the container's writes, our reads and the line borders happen to fall. The search runs over the text as
// a person reads it, without control sequences and invisible characters (visible.go), and again without
// what tools add when they quote a text (unescaped.go); it looks for secrets as they are and in the
// encodings that tools print by themselves (forms.go). Bytes that a dump prints in lines with addresses are
// searched in the same way (dump.go). Lines keep their control characters; whoever shows one on a terminal
// passes it through a Sanitizer.
//
// The package does not format, store or show lines: package report does that.
package logs
