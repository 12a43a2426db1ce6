package sandbox

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
)

// lent are the folders of the machine that users of steps may write to although they belong to the
// user who runs stepexec without root, who cannot mount them with other ids. Access control lists
// let the users in. At the end of the run what they have made becomes the owner's.
type lent struct {
	mu      sync.Mutex
	folders []lentFolder
}

type lentFolder struct {
	dir  *os.File
	path string // for comparison and messages
	uid  uint32 // who may write to it
}

// lend lets a user write to an open folder and to all that is in it.
func (l *lent) lend(file *os.File, path string, uid uint32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	isLent := func(f lentFolder) bool {
		return f.uid == uid && (f.path == path || strings.HasPrefix(path, f.path+"/"))
	}
	if slices.ContainsFunc(l.folders, isLent) {
		return nil
	}
	if err := allowIn(file, uid); err != nil {
		return err
	}
	dir, err := beneath.Reopen(file, unix.O_PATH)
	if err != nil {
		return err
	}
	l.folders = append(l.folders, lentFolder{dir, path, uid})
	return nil
}

// Lend lets users of containers write to what their owner has put into a folder since the
// containers were made. It does nothing for a folder that has not been lent.
func (h *Host) Lend(path string) error {
	h.lent.mu.Lock()
	defer h.lent.mu.Unlock()
	for _, f := range h.lent.folders {
		if !strings.HasPrefix(path, f.path+"/") {
			continue
		}
		dir, err := beneath.At(path, f.path).Open(unix.O_DIRECTORY)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := errors.Join(allowIn(dir, f.uid), dir.Close()); err != nil {
			return err
		}
	}
	return nil
}

// allowIn lets a user write to a folder and to all that is in it.
func allowIn(folder *os.File, uid uint32) error {
	return eachIn(folder, func(path string, stat *unix.Stat_t) error {
		switch stat.Mode & unix.S_IFMT {
		case unix.S_IFDIR, unix.S_IFREG:
			return allow(path, uid, stat.Mode)
		}
		return nil
	})
}

// takeBack makes the owner of the folders the owner of what the users have made in them.
func (l *lent) takeBack() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var failed []error
	for _, f := range l.folders {
		err := eachIn(f.dir, func(path string, stat *unix.Stat_t) error {
			if stat.Uid != f.uid {
				return nil
			}
			return unix.Lchown(path, unix.Geteuid(), unix.Getegid())
		})
		if err != nil {
			failed = append(failed, fmt.Errorf("take back what user %d has made in %s: %w", f.uid, f.path, err))
		}
		failed = append(failed, f.dir.Close())
	}
	l.folders = nil
	return errors.Join(failed...)
}

// eachIn calls do for a folder and all that is in it, with paths that lead there even if a name is
// replaced by a link. What belongs to other users of the machine, or is gone, is left out.
func eachIn(folder *os.File, do func(path string, stat *unix.Stat_t) error) error {
	return beneath.Walk(folder, beneath.Visitor{
		Enter: func(dir *os.File) error {
			var stat unix.Stat_t
			if err := unix.Fstat(int(dir.Fd()), &stat); err != nil {
				return err
			}
			return passOver(do(descriptorPath(dir)+"/.", &stat))
		},
		Entry: func(dir *os.File, name string) (enter bool, err error) {
			var stat unix.Stat_t
			if err := unix.Fstatat(int(dir.Fd()), name, &stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return false, passOver(err)
			}
			if stat.Mode&unix.S_IFMT == unix.S_IFDIR {
				return stat.Uid != overflowID, nil
			}
			return false, passOver(do(descriptorPath(dir)+"/"+name, &stat))
		},
	})
}

// overflowID stands for ids that a user namespace lacks (/proc/sys/fs/overflowuid).
const overflowID = 65534

func descriptorPath(file *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", file.Fd()) }

// passOver ignores what belongs to others, and what is gone meanwhile.
func passOver(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
