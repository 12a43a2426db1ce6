package main

import (
	"os"

	"github.com/containerd/console"
)

// usersTerminal is the first of the three streams that is a terminal, nil when
// none is.
func usersTerminal() *os.File {
	for _, file := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		if _, err := console.ConsoleFromFile(file); err == nil {
			return file
		}
	}
	return nil
}
