package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// noCoreFiles keeps stepexec, and the runtimes that it starts, from writing core files: their
// memory contains the secrets. The hard limit stays, because a step may ask for its own core files.
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
