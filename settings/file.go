package settings

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/rootless"
)

// Variable names the environment variable that names the settings file.
const Variable = "STEPEXEC_SETTINGS"

// Load reads the settings file that is named, or else the one that $STEPEXEC_SETTINGS names. When neither names one it
// reads /etc/stepexec/settings.yml for root and stepexec/settings.yml in $XDG_CONFIG_HOME, or in ~/.config, for
// others; without that file there are no settings. Errors are those of Parse, or say who named the file.
func Load(named string) (Settings, error) {
	by := "--settings"
	if named == "" {
		named, by = os.Getenv(Variable), "$"+Variable
	}
	file := named
	if named == "" {
		file, by = defaultFile(), "settings"
	}
	if file == "" {
		return Settings{}, nil
	}
	data, err := read(file)
	if named == "" && notThere(err) {
		return Settings{}, nil
	}
	if err != nil {
		return Settings{}, fmt.Errorf("%s: %w", by, err)
	}
	return Parse(file, data)
}

func notThere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) // a home of /dev/null
}

// defaultFile returns "" for a user without a home directory.
func defaultFile() string {
	if _, inside := rootless.Inside(); os.Geteuid() == 0 && !inside {
		return "/etc/stepexec/settings.yml"
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "stepexec", "settings.yml")
}

// read reads at most one byte more than Parse takes: the file may be a device.
func read(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	return data, errors.Join(err, f.Close())
}
