package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"
)

// maxUserFile bounds the bytes read of an image's passwd and group files: a hostile image could
// otherwise fill the memory (CVE-2026-47262).
const maxUserFile = 10 << 20

// lookupUser finds a step's user in its image: uid, gid, supplementary groups and home. It never
// looks at the host's own users.
func lookupUser(rootfs, spec string) (*user.ExecUser, error) {
	passwd, err := readInRootfs(rootfs, "etc/passwd")
	if err != nil {
		return nil, err
	}
	group, err := readInRootfs(rootfs, "etc/group")
	if err != nil {
		return nil, err
	}
	defaults := &user.ExecUser{Home: "/"}
	found, err := user.GetExecUser(spec, defaults,
		bytes.NewReader(wellFormed(passwd, 2, 3)), bytes.NewReader(wellFormed(group, 2)))
	switch {
	case errors.Is(err, user.ErrNoPasswdEntries):
		return nil, fmt.Errorf("no such user in its /etc/passwd (use a name that is there, or a number)")
	case errors.Is(err, user.ErrNoGroupEntries):
		return nil, fmt.Errorf("no such group in its /etc/group (use a name that is there, or a number)")
	case err != nil:
		return nil, err
	}
	// An entry of the image's passwd file may have a number that wraps around to 0, which is root,
	// when it becomes a uid (CVE-2024-40635).
	for _, id := range append([]int{found.Uid, found.Gid}, found.Sgids...) {
		if id < 0 || id > math.MaxInt32 {
			return nil, fmt.Errorf("id %d is out of range", id)
		}
	}
	if found.Home == "" {
		found.Home = "/"
	}
	return found, nil
}

// addGroups adds supplementary groups to a step's user, by name in the image or by number.
func addGroups(who *user.ExecUser, rootfs string, groups []string) error {
	if len(groups) == 0 {
		return nil
	}
	file, err := readInRootfs(rootfs, "etc/group")
	if err != nil {
		return err
	}
	gids, err := user.GetAdditionalGroups(groups, bytes.NewReader(wellFormed(file, 2)))
	if err != nil {
		return fmt.Errorf("supplementary groups %s: %w (use names of its /etc/group, or numbers)", strings.Join(groups, ", "), err)
	}
	for _, gid := range gids {
		if gid < 0 || gid > math.MaxInt32 {
			return fmt.Errorf("supplementary groups %s: id %d is out of range", strings.Join(groups, ", "), gid)
		}
	}
	who.Sgids = append(who.Sgids, gids...)
	return nil
}

// wellFormed removes the lines of a passwd or group file with malformed numbers: the parser reads a
// missing or misspelt uid as 0, and a step meant to run as a user would run as root.
func wellFormed(file []byte, numbers ...int) []byte {
	var kept []byte
	for line := range bytes.Lines(file) {
		fields := bytes.Split(bytes.TrimSpace(line), []byte(":"))
		good := true
		for _, i := range numbers {
			good = good && i < len(fields) && len(fields[i]) > 0 && len(bytes.Trim(fields[i], "0123456789")) == 0
		}
		if good {
			kept = append(kept, line...)
		}
	}
	return kept
}

// readInRootfs reads a small file of an image, or nothing when there is none. It follows links only
// inside the image: `etc/passwd -> /host/etc/passwd` must not read the host's file. It opens only
// regular files: a FIFO would hang, and merely opening a device can have effects, such as starting
// the host's watchdog.
func readInRootfs(rootfs, name string) ([]byte, error) {
	place, err := openInRootfs(rootfs, name, unix.O_PATH)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer place.Close()
	info, err := place.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("/%s is not a regular file", name)
	}
	file, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", place.Fd())) // opens the file that was checked, without its name
	if err != nil {
		return nil, fmt.Errorf("open /%s: %w", name, err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxUserFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxUserFile {
		return nil, fmt.Errorf("/%s is larger than %d bytes", name, maxUserFile)
	}
	return data, nil
}

func openInRootfs(rootfs, name string, flags int) (*os.File, error) {
	dir, err := os.Open(rootfs)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	how := &unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC),
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	fd, err := unix.Openat2(int(dir.Fd()), name, how)
	if err != nil {
		return nil, &os.PathError{Op: "open in image", Path: "/" + name, Err: err}
	}
	return os.NewFile(uintptr(fd), "/"+name), nil
}
