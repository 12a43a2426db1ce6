package rootless

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNoNamespaces says that the kernel's configuration gives users no user namespaces, or none in
// which images can be mounted.
var ErrNoNamespaces = errors.New("no user namespace for users without root")

// refused explains why the kernel refused this user the rights of root in a user namespace.
func refused(err error) error {
	return fmt.Errorf("%w: %w (%s)", ErrNoNamespaces, err, remedy(os.ReadFile))
}

// remedy looks for the kernel switch that is off.
func remedy(read func(string) ([]byte, error)) string {
	for _, s := range []struct{ file, off, say string }{
		{"/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=15000 allows them"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1 allows them"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor forbids what is needed there: sysctl kernel.apparmor_restrict_unprivileged_userns=0 allows it, or a profile for stepexec with the rule userns"},
	} {
		if text, err := read(s.file); err == nil && strings.TrimSpace(string(text)) == s.off {
			return s.say
		}
	}
	return "in a container, its seccomp profile or masked /proc forbids it; else run stepexec as root"
}

// CheckKernel returns an error when the kernel is older than 5.11, the first that mounts overlays in user namespaces.
func CheckKernel() error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fmt.Errorf("ask for the kernel's version: %w", err)
	}
	return checkRelease(unix.ByteSliceToString(name.Release[:]))
}

func checkRelease(release string) error {
	first, rest, _ := strings.Cut(release, ".")
	second, _, _ := strings.Cut(rest, ".")
	if end := strings.IndexFunc(second, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		second = second[:end]
	}
	major, err := strconv.Atoi(first)
	minor, minorErr := strconv.Atoi(second)
	if err := errors.Join(err, minorErr); err != nil {
		return nil //nolint:nilerr // an unknown format of the version is not judged
	}
	if major < 5 || major == 5 && minor < 11 {
		return fmt.Errorf("%w: Linux %s cannot mount overlays there (5.11 and newer can; or run stepexec as root)", ErrNoNamespaces, release)
	}
	return nil
}
