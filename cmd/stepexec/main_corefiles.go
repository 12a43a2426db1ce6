package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// noCoreFiles keeps stepexec, and the runtimes it starts, from leaving their memory, which has the
// secrets, in a core file. The hard limit stays: a step may ask for core files of its own.
func noCoreFiles() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		return fmt.Errorf("look at the limit of core files: %w", err)
	}
	limit.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		return fmt.Errorf("turn off core files: %w", err)
	}
	return nil
}
