package actions

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
	"github.com/stepexec/stepexec/crash"
)

// jobs are the folders of the jobs of one runner: ROOT/actions/RUNNER-XXXX, locked by the job's
// keeper while it lives. Other runners of the machine have other names, or work elsewhere.
type jobs struct {
	dir    string
	prefix string
}

// jobsOf are those of the runner that an environment is of.
func jobsOf(root string, env func(string) string) jobs {
	id := sha256.Sum256([]byte(env("RUNNER_NAME") + "\x00" + env("RUNNER_TEMP")))
	return jobs{dir: filepath.Join(root, "actions"), prefix: hex.EncodeToString(id[:6]) + "-"}
}

// make makes the folder of a new job.
func (j jobs) make(temp string) (string, error) {
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return "", err
	}
	folder, err := os.MkdirTemp(j.dir, j.prefix)
	if err != nil {
		return "", err
	}
	if err := findOwner(temp).write(folder); err != nil {
		return "", errors.Join(err, os.RemoveAll(folder))
	}
	return folder, nil
}

// owns reports whether a folder, which the runner has kept, is one of these.
func (j jobs) owns(folder string) bool {
	return filepath.Dir(folder) == j.dir && strings.HasPrefix(filepath.Base(folder), j.prefix)
}

// all are the folders of the runner's jobs that are still there.
func (j jobs) all() ([]string, error) { return filepath.Glob(filepath.Join(j.dir, j.prefix+"*")) }

// endAll ends every job of the runner that is still there: it runs one at a time.
func (j jobs) endAll(ctx context.Context) error {
	all, err := j.all()
	if err != nil {
		return err
	}
	return endJobs(ctx, all)
}

// endLeft ends the jobs that other runners have left, which are gone.
func (j jobs) endLeft(ctx context.Context) error {
	all, err := filepath.Glob(filepath.Join(j.dir, "*"))
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(all, func(folder string) bool {
		if o := readOwner(folder); !o.isElsewhere() {
			return !o.isGone()
		}
		return !isAbandoned(folder)
	})
	return endJobs(ctx, left)
}

// isAbandoned reports whether a job of a runner that this process cannot see has no keeper, and is
// too old to get one yet.
func isAbandoned(folder string) bool {
	info, err := os.Stat(folder)
	if err != nil || time.Since(info.ModTime()) < endTime {
		return false
	}
	lock, err := tryLockFolder(folder)
	if lock != nil {
		_ = lock.Close()
	}
	return err == nil && lock != nil
}

func endJobs(ctx context.Context, folders []string) error {
	var all crash.Group
	for _, folder := range folders {
		all.Go(func() { all.Note(endJob(ctx, folder)) })
	}
	return all.Wait()
}

// endJob has a job's keeper end and waits for that. A keeper that does not end by itself is
// killed. One that has died left its containers to its guard, and nothing here but the folder.
func endJob(ctx context.Context, folder string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, endTime, errors.New("its process does not end (see stepexec ps)"))
	defer cancel()
	ending, stop := context.WithCancel(ctx)
	var telling crash.Group
	telling.Go(func() { tellEnd(ending, folder) })
	lock, err := lockFolder(ctx, folder)
	stop()
	crashed := telling.Wait()
	if errors.Is(err, os.ErrNotExist) {
		return crashed
	}
	if err != nil {
		return fmt.Errorf("end the job of %s: %w", folder, errors.Join(err, crashed))
	}
	return errors.Join(beneath.RemoveAll(folder), lock.Close(), crashed)
}

const (
	endTime   = 30 * time.Second       // bounds how long the end of a job is waited for
	killAfter = 3 * time.Second        // time that a keeper has before it is killed
	tellAgain = 100 * time.Millisecond // between two tries to reach a keeper that has just been started
)

// tellEnd tells a job's keeper to end, and kills it killAfter later, until ctx ends.
func tellEnd(ctx context.Context, folder string) {
	kill := time.NewTimer(killAfter)
	defer kill.Stop()
	ticker := time.NewTicker(tellAgain)
	defer ticker.Stop()
	told := false
	for {
		conn, err := dial(folder)
		if err == nil && !told {
			told = (&call{End: true}).send(conn) == nil
		}
		select {
		case <-ctx.Done():
		case <-kill.C:
			if err == nil {
				killPeer(conn)
			}
		case <-ticker.C:
		}
		if err == nil {
			_ = conn.Close()
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// killPeer kills the process that listens at the other end.
func killPeer(conn *net.UnixConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err == nil && peer.Pid > 1 { // 0: it is in a process namespace that this one does not see
			_ = unix.Kill(int(peer.Pid), unix.SIGKILL)
		}
	})
}

// lockFolder takes the lock of a job's folder, which its keeper holds while it lives.
func lockFolder(ctx context.Context, folder string) (*os.File, error) {
	file, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	locked := make(chan error)
	go func() { // ends with the lock, or with this process
		err := awaitLock(file)
		select {
		case locked <- err:
		case <-ctx.Done(): // nobody wants the lock any more
			_ = file.Close()
		}
	}()
	select {
	case err := <-locked:
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
		return file, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// awaitLock waits until the file is locked for this process alone.
func awaitLock(file *os.File) (err error) {
	defer crash.Recover(&err)
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX)
	for errors.Is(err, unix.EINTR) {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX)
	}
	return err
}

// tryLockFolder takes the lock of a folder; nil: there is no folder, or another process has the lock.
func tryLockFolder(folder string) (*os.File, error) {
	file, err := os.Open(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	switch err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil, file.Close()
	case err != nil:
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// hexID is what the runner takes for a container's id.
func hexID(run, service string) string {
	id := sha256.Sum256([]byte(run + "\x00" + service))
	return hex.EncodeToString(id[:])
}
