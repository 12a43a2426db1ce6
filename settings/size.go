package settings

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/docker/go-units"
)

// maxSize is more than any disk has, and no sum of a few of it overflows.
const maxSize = 1 << 60

var (
	// sizeForm is narrower than go-units, which also takes inf, 1e300 and a bare number.
	sizeForm = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^[0-9]{1,15}(\.[0-9]{1,15})? ?([bB]|[kKmMgGtT]([iI]?[bB])?)$`)
	})
	errNoSize = errors.New("want a size with its unit, such as 500MB, 20GB or 256GiB")
)

// ParseSize returns the bytes of a size such as 500MB or 20GiB: kB, MB, GB and TB are powers of 1000, KiB, MiB, GiB
// and TiB of 1024. A number without a unit is an error: of a limit of 20 that was to be 20GB nothing would be left.
func ParseSize(text string) (int64, error) {
	if !sizeForm().MatchString(text) {
		return 0, fmt.Errorf("%w, not %s", errNoSize, quoted(text))
	}
	parse := units.FromHumanSize
	if strings.ContainsAny(text, "iI") {
		parse = units.RAMInBytes
	}
	bytes, err := parse(text)
	if err != nil || bytes <= 0 || bytes > maxSize {
		return 0, fmt.Errorf("a size of %s is out of range", text)
	}
	return bytes, nil
}

// ParseStoreLimit is ParseSize for the limit of the store, which may be none: 0.
func ParseStoreLimit(text string) (int64, error) {
	if text == "none" {
		return 0, nil
	}
	bytes, err := ParseSize(text)
	if errors.Is(err, errNoSize) {
		err = fmt.Errorf("%w, or none, not %s", errNoSize, quoted(text))
	}
	return bytes, err
}
