// Package live shows a run on a terminal while it goes on: below what has been
// printed stands a block of lines, drawn again and again, with the running steps,
// their last lines and the images that are being pulled. What has ended becomes a line
// above it.
//
// It is not for: output that is no terminal, which package report writes.
package live
