// Package live shows a run on a terminal while it goes on. Below the printed lines it draws a
// block of lines again and again: the running steps with their last lines, and the images that
// are being pulled. Whatever has ended becomes a line above the block.
//
// Package report writes the output for everything that is not a terminal.
package live
