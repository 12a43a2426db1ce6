package sandbox

import (
	"errors"
	"fmt"
	"os"

	"github.com/containerd/go-runc"
	"golang.org/x/sys/unix"
)

// consoleSocket is the socket to which the runtime sends the master.
type consoleSocket struct {
	*runc.Socket
	dir *os.File
}

// newConsoleSocket listens in dir, which only stepexec can enter: anyone else who could connect
// would choose the step's terminal. The path of the state root may exceed the 108 bytes of a
// socket's name (unix(7)), so the socket's path goes through a descriptor of the directory.
func newConsoleSocket(dir string) (*consoleSocket, error) {
	held, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	socket, err := runc.NewConsoleSocket(fmt.Sprintf("/proc/%d/fd/%d/console", os.Getpid(), held.Fd()))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for the step's terminal: %w", err), held.Close())
	}
	return &consoleSocket{socket, held}, nil
}

func (s *consoleSocket) Close() error {
	return errors.Join(s.Socket.Close(), s.dir.Close())
}

// verifyConsole makes sure that the runtime has mounted a terminal at /dev/console, and not the
// target of a link (CVE-2025-52565).
func verifyConsole(pid int) error {
	path := fmt.Sprintf("/proc/%d/root/dev/console", pid)
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	const firstMajor, lastMajor = 136, 143 // device numbers of pseudo-terminals: the kernel's devices.txt
	if major := unix.Major(st.Rdev); st.Mode&unix.S_IFMT != unix.S_IFCHR || major < firstMajor || major > lastMajor {
		return errors.New("refused: /dev/console of the container is no terminal (has something replaced it while the container was made?)")
	}
	return nil
}
