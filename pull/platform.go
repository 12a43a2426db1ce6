package pull

import (
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// parsePlatform parses OS/ARCH[/VARIANT]; "" means the host's platform.
func parsePlatform(s string) (ocispec.Platform, error) {
	if s == "" {
		return hostPlatform()
	}
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
		return ocispec.Platform{}, fmt.Errorf("bad platform %q: want OS/ARCH or OS/ARCH/VARIANT, such as linux/arm64 or linux/arm/v7", s)
	}
	p := ocispec.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return normalise(p)
}

// hostPlatform returns the platform of this machine. The kernel reports the ARM variant, because
// the Go tool chain knows only the one that the program was built for.
func hostPlatform() (ocispec.Platform, error) {
	p := ocispec.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}
	if p.Architecture == "arm" {
		var uts unix.Utsname
		if err := unix.Uname(&uts); err != nil {
			return p, fmt.Errorf("ask the kernel for the machine's architecture: %w", err)
		}
		p.Variant = armVariant(unix.ByteSliceToString(uts.Machine[:]))
	}
	return normalise(p)
}

// armVariant maps a machine name of uname(2), such as armv6l, to a variant.
// A 32-bit program on a 64-bit kernel (aarch64, armv8l) runs v7 code.
func armVariant(machine string) string {
	for _, v := range []string{"v5", "v6"} {
		if strings.HasPrefix(machine, "arm"+v) {
			return v
		}
	}
	return "v7"
}

var platformPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`) })

// architectures maps names that other tools use to Go's names.
var architectures = map[string]ocispec.Platform{
	"x86_64":  {Architecture: "amd64"},
	"x86-64":  {Architecture: "amd64"},
	"i386":    {Architecture: "386"},
	"i486":    {Architecture: "386"},
	"i586":    {Architecture: "386"},
	"i686":    {Architecture: "386"},
	"aarch64": {Architecture: "arm64"},
	"armhf":   {Architecture: "arm", Variant: "v7"},
	"armel":   {Architecture: "arm", Variant: "v6"},
	"armv7l":  {Architecture: "arm", Variant: "v7"},
	"armv6l":  {Architecture: "arm", Variant: "v6"},
}

// baseline is the variant that an architecture without a variant stands for.
var baseline = map[string]int{"amd64": 1, "arm": 7, "arm64": 8}

// normalise gives a platform the one spelling that is compared and shown: Go's names, and a variant
// only if it is not the architecture's usual one (except for arm, which always has one).
func normalise(p ocispec.Platform) (ocispec.Platform, error) {
	n := ocispec.Platform{
		OS:           strings.ToLower(p.OS),
		Architecture: strings.ToLower(p.Architecture),
		Variant:      strings.ToLower(p.Variant),
	}
	if n.OS == "macos" {
		n.OS = "darwin"
	}
	if known, ok := architectures[n.Architecture]; ok {
		n.Architecture = known.Architecture
		if n.Variant == "" {
			n.Variant = known.Variant
		}
	}
	if number, ok := variantNumber(n); ok {
		n.Variant = "v" + strconv.Itoa(number)
		if number == baseline[n.Architecture] && n.Architecture != "arm" {
			n.Variant = ""
		}
	}
	for _, part := range []string{n.OS, n.Architecture} {
		if !platformPattern().MatchString(part) {
			return n, fmt.Errorf("bad platform %q", format(p))
		}
	}
	if n.Variant != "" && !platformPattern().MatchString(n.Variant) {
		return n, fmt.Errorf("bad platform %q", format(p))
	}
	return n, nil
}

// variantNumber returns 7 for arm/v7, and ok=false for variants without a number.
func variantNumber(p ocispec.Platform) (number int, ok bool) {
	usual, ok := baseline[p.Architecture]
	if !ok || p.Variant == "" {
		return usual, ok
	}
	number, err := strconv.Atoi(strings.TrimPrefix(p.Variant, "v"))
	return number, err == nil && number > 0 && number < 100
}

// fit measures how well an image for have runs on want, both normalised: 0 is exact, larger is
// worse, and ok=false means that it does not run. A later variant runs images built for an earlier
// one: arm/v7 runs v6 and v5.
func fit(want, have ocispec.Platform) (distance int, ok bool) {
	if want.OS != have.OS || want.Architecture != have.Architecture {
		return 0, false
	}
	w, wok := variantNumber(want)
	h, hok := variantNumber(have)
	if !wok || !hok {
		return 0, want.Variant == have.Variant
	}
	return w - h, h <= w
}

func format(p ocispec.Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}
