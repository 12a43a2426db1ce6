package doctor

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// runtime finds the OCI runtime and asks for its version.
func (m *Machine) runtime(ctx context.Context) Result {
	path, err := m.LookPath(m.Runtime)
	if err != nil {
		return fail(err.Error(), "apt-get install runc, or name another with --runtime")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	if err != nil {
		return fail(fmt.Sprintf("%s --version: %v: %s", path, err, strings.TrimSpace(string(out))), "install runc, or name another with --runtime")
	}
	return judgeRuntime(path, string(out))
}

// judgeRuntime reads the version output of runc and crun.
func judgeRuntime(path, about string) Result {
	first, _, _ := strings.Cut(about, "\n")
	detail := fmt.Sprintf("%s: %s", path, strings.TrimSpace(first))
	if filepath.Base(path) == "runc" && !strings.Contains(about, "libseccomp") {
		return fail(detail+", built without seccomp, which every step gets", "install a runc that is built with it")
	}
	if known := vulnerabilities(first); known != "" {
		return warn(detail+": "+known+" (stepexec looks at every container's mounts before it starts; a distribution may have mended it without a new number)",
			"install runc 1.2.8, 1.3.6, 1.4 or newer")
	}
	return ok(detail)
}

var versionOf = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^runc version (\d+)\.(\d+)\.(\d+)(-rc\.?(\d+))?`) })

// vulnerabilities names the known vulnerabilities of a version of runc. Exploiting one takes an
// image or a mount made for the purpose.
func vulnerabilities(line string) string {
	parts := versionOf().FindStringSubmatch(line)
	if parts == nil {
		return ""
	}
	number := func(i int) int {
		n, err := strconv.Atoi(parts[i])
		if err != nil {
			return 0 // not a release candidate
		}
		return n
	}
	minor, patch, candidate := number(2), number(3), number(5)
	before := func(fixed int) bool { return patch < fixed }
	const masks = "CVE-2025-31133, CVE-2025-52565, CVE-2025-52881: a step can write to the host's /proc"
	const dev = "CVE-2026-41579: an image with a link as /dev"
	switch {
	case number(1) != 1:
		return ""
	case minor < 2, minor == 2 && before(8), minor == 3 && before(3), minor == 4 && patch == 0 && candidate > 0 && candidate < 3:
		return masks
	case minor == 3 && before(6):
		return dev
	}
	return ""
}
