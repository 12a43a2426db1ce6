// Package logs takes what a container writes from its FIFO to masked lines.
//
//	container ─▶ FIFO ─▶ MaskWriter ─▶ Lines ─▶ emit(line)
//
// Masking comes before lines are split, on the byte stream, so that a secret is found wherever
// the container's writes, our reads and the line borders happen to fall. The search runs over the text as
// a person reads it, without control sequences and invisible characters (visible.go), and looks for
// secrets in the forms in which tools print them by themselves (forms.go). Lines keep their control
// characters; whoever shows one on a terminal passes it through a Sanitizer.
//
// The package does not format, store or show lines: package report does that.
package logs
