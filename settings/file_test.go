package settings_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/settings"
)

// The default files are in cmd/stepexec's tests: they depend on the user and on /etc.
func TestLoadTakesTheFileThatIsNamed(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one, two := write("one.yml", "store_limit: 1GB"), write("two.yml", "store_limit: 2GB")
	large := write("large.yml", strings.Repeat("\n", 1<<21))
	for _, c := range []struct {
		name, flag, variable string
		want                 int64
		err                  string
	}{
		{"the flag", one, "", 1e9, ""},
		{"the variable", "", two, 2e9, ""},
		{"the flag before the variable", one, two, 1e9, ""},
		{"an empty device", os.DevNull, two, 0, ""},
		{"a flag's file that is not there", filepath.Join(dir, "nope"), "", 0, "--settings: open " + dir + "/nope: no such file"},
		{"a variable's file that is not there", "", filepath.Join(dir, "nope"), 0, "$STEPEXEC_SETTINGS: open " + dir + "/nope: no such file"},
		{"a directory", dir, "", 0, "--settings: read " + dir + ": is a directory"},
		{"a large file", large, "", 0, large + ":1:1: the file is larger"},
		{"an endless device", "/dev/zero", "", 0, "/dev/zero:1:1: the file is larger"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(settings.Variable, c.variable)
			got, err := settings.Load(c.flag)
			if (err != nil) != (c.err != "") || err != nil && !strings.HasPrefix(err.Error(), c.err) {
				t.Fatalf("the error is %v", err)
			}
			if got.StoreLimit != c.want {
				t.Errorf("got %d, want %d", got.StoreLimit, c.want)
			}
		})
	}
}
