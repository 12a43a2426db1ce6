package rootless

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	osuser "os/user"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
)

var (
	// ErrNoMapper says that newuidmap and newgidmap, which map a user's subordinate ids, are
	// missing or do not work.
	ErrNoMapper = errors.New("subordinate ids cannot be mapped")
	// ErrNoSubordinateIDs says that the user has no range of subordinate ids.
	ErrNoSubordinateIDs = errors.New("no subordinate ids")
)

// identity is a user of the host and the ids that it may map.
type identity struct {
	uid, gid   int
	uids, gids []user.SubID
	newuidmap  string
	newgidmap  string
}

// findUser returns the user of this process and the ids that it may use; see subuid(5) and
// newuidmap(1).
func findUser() (*identity, error) {
	who := &identity{uid: os.Getuid(), gid: os.Getgid()}
	var err error
	for command, path := range map[string]*string{"newuidmap": &who.newuidmap, "newgidmap": &who.newgidmap} {
		if *path, err = exec.LookPath(command); err != nil {
			return nil, fmt.Errorf("%w: %w (install it, e.g. apt-get install uidmap, or run stepexec as root)", ErrNoMapper, err)
		}
	}
	name := strconv.Itoa(who.uid)
	if known, err := osuser.LookupId(name); err == nil {
		name = known.Username
	}
	if who.uids, err = subordinate("/etc/subuid", name, who.uid); err != nil {
		return nil, err
	}
	who.gids, err = subordinate("/etc/subgid", name, who.uid)
	return who, err
}

// subordinate reads the ranges of a user, who may be listed by name or by number.
func subordinate(file, name string, uid int) ([]user.SubID, error) {
	ranges, err := user.ParseSubIDFileFilter(file, func(id user.SubID) bool {
		return (id.Name == name || id.Name == strconv.Itoa(uid)) && id.Count > 0
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read subordinate ids: %w", err)
	}
	if len(ranges) == 0 {
		return nil, fmt.Errorf("%w: %s has no range for user %s (usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s, with a range that is free there)", ErrNoSubordinateIDs, file, name, name)
	}
	return ranges, nil
}

// mapIDs maps the ids of the process: 0 is the user, and the subordinate ids follow from 1 on,
// range after range.
func (who *identity) mapIDs(pid int) error {
	return errors.Join(
		runMapper(who.newuidmap, pid, who.uid, who.uids),
		runMapper(who.newgidmap, pid, who.gid, who.gids),
	)
}

func runMapper(command string, pid, id int, ranges []user.SubID) error {
	out, err := exec.Command(command, mapping(pid, id, ranges)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s: %w: %s (it must be setuid root or have CAP_SETUID, and no_new_privs must be off)",
			ErrNoMapper, command, err, bytes.TrimSpace(out))
	}
	return nil
}

func mapping(pid, id int, ranges []user.SubID) []string {
	words := []string{strconv.Itoa(pid), "0", strconv.Itoa(id), "1"}
	next := int64(1)
	for _, r := range ranges {
		words = append(words, strconv.FormatInt(next, 10), strconv.FormatInt(r.SubID, 10), strconv.FormatInt(r.Count, 10))
		next += r.Count
	}
	return words
}

// InNamespace reports whether this process is in a user namespace that lacks some ids of the
// machine, be it Run's or a container's. In such a namespace the kernel wants other attributes for
// overlays, and refuses device nodes.
func InNamespace() bool {
	data, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(data)), " ") != "0 0 4294967295"
}
