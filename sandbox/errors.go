package sandbox

import (
	"errors"
	"fmt"
	"os"
)

var (
	// ErrNoRuntime says that no OCI runtime was found.
	ErrNoRuntime = errors.New("no OCI runtime")
	// ErrNoSystemd says that systemd should create cgroups but is not running.
	ErrNoSystemd = errors.New("systemd does not run on this machine")
	// ErrPrivilege says that this process may not mount file systems.
	ErrPrivilege = errors.New("not enough privilege")
	// ErrNoCommand says that neither the step nor its image names a command.
	ErrNoCommand = errors.New("nothing to run: the step has no commands, entrypoint or args and the image has no default command")
)

// CheckPrivilege returns ErrPrivilege when this user may not mount file systems and unpack images.
func CheckPrivilege() error {
	if uid := os.Geteuid(); uid != 0 {
		return fmt.Errorf("%w: user %d may not mount file systems or give files to other users: run stepexec as root (sudo)", ErrPrivilege, uid)
	}
	return nil
}

// CommandError says that a step's command cannot be executed in its image. The step itself failed,
// with the exit code that a shell would return.
type CommandError struct {
	Code    int // 127: not found; 126: found, but not executable
	Command string
	Image   string
	Why     string // why the kernel refused it, and what to do; "": the runtime refused it before
	Err     error  // the runtime's error, which adds nothing for the user
}

func (e *CommandError) Error() string {
	if e.Why != "" {
		return fmt.Sprintf("%s: cannot be executed in image %s: %s", e.Command, e.Image, e.Why)
	}
	why := "command not found"
	if e.Code == 126 {
		why = "command is not executable"
	}
	return fmt.Sprintf("%s: %s in image %s", e.Command, why, e.Image)
}

func (e *CommandError) Unwrap() error { return e.Err }

// UserError says that a step's user cannot be found in its image.
type UserError struct {
	User  string
	Image string
	Err   error
}

func (e *UserError) Error() string {
	return fmt.Sprintf("user %q in image %s: %v", e.User, e.Image, e.Err)
}

func (e *UserError) Unwrap() error { return e.Err }
