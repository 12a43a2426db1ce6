package sandbox

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// IsCurrent reports whether a container that was created earlier and has not been started still
// equals one created now: its mounts show what is at their sources, and its working directory is
// still the one with that name. Steps that ran in the meantime may have replaced them.
func (s *Sandbox) IsCurrent() bool {
	root, err := os.Open(fmt.Sprintf("/proc/%d/root", s.init.Pid))
	if err != nil {
		return false
	}
	defer root.Close()
	for _, m := range s.step.Mounts {
		if m.Type != "bind" {
			continue
		}
		source, err := os.Stat(m.Source)
		if err != nil || !isAt(root, m.Destination, source) {
			return false
		}
	}
	cwd, err := os.Stat(fmt.Sprintf("/proc/%d/cwd", s.init.Pid))
	if err != nil {
		return false
	}
	// Some runtimes enter the directory only when the command starts.
	return isAt(root, "/", cwd) || isAt(root, s.process.Cwd, cwd)
}

// isAt reports whether the name leads to the file in the container.
func isAt(root *os.File, name string, file os.FileInfo) bool {
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(int(root.Fd()), name, how)
	if err != nil {
		return false
	}
	found := os.NewFile(uintptr(fd), filepath.Join(root.Name(), name))
	defer found.Close()
	info, err := found.Stat()
	return err == nil && os.SameFile(file, info)
}
