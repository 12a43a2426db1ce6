package main

import (
	"io"
	"os"

	"github.com/containerd/console"
)

// usersTerminal returns the first of the three streams that is a terminal, or nil.
func usersTerminal() *os.File {
	for _, file := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		if _, err := console.ConsoleFromFile(file); err == nil {
			return file
		}
	}
	return nil
}

// isOnePlace reports whether both streams go to the same terminal, pipe or file, so that a program
// that writes to both needs only one of them.
func isOnePlace(stdout, stderr io.Writer) bool {
	var infos [2]os.FileInfo
	for i, w := range []io.Writer{stdout, stderr} {
		file, ok := w.(*os.File)
		if !ok {
			return false
		}
		info, err := file.Stat()
		if err != nil {
			return false
		}
		infos[i] = info
	}
	return os.SameFile(infos[0], infos[1])
}
