package rootless

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/user"
)

func TestMappingPutsTheUserAtZeroAndRangesBehindIt(t *testing.T) {
	ranges := []user.SubID{{SubID: 100000, Count: 1000}, {SubID: 500000, Count: 64536}}
	got := strings.Join(mapping(77, 1000, ranges), " ")
	if want := "77 0 1000 1 1 100000 1000 1001 500000 64536"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSubordinateIDsAreFoundByNameAndByNumber(t *testing.T) {
	file := filepath.Join(t.TempDir(), "subuid")
	if err := os.WriteFile(file, []byte("alice:100000:65536\n1000:300000:10\nbob:200000:65536\nempty:1:0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := subordinate(file, "alice", 1000)
	want := []user.SubID{{Name: "alice", SubID: 100000, Count: 65536}, {Name: "1000", SubID: 300000, Count: 10}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	for name, from := range map[string]string{"carol": file, "empty": file, "alice": file + ".none"} {
		if _, err := subordinate(from, name, 4242); !errors.Is(err, ErrNoSubordinateIDs) || !strings.Contains(err.Error(), "usermod --add-subuids") {
			t.Errorf("%s: got %v, want what to do about it", name, err)
		}
	}
}

func TestOldKernelsAreRefused(t *testing.T) {
	for release, good := range map[string]bool{
		"6.18.44-fc": true, "5.11.0": true, "5.11-rc3": true, "10.0": true, "strange": true,
		"5.10.0-28-amd64": false, "4.18.0-553.el8": false, "5.4": false,
	} {
		if err := checkRelease(release); (err == nil) != good {
			t.Errorf("%s: %v", release, err)
		}
	}
}

func TestRefusalNamesTheSwitch(t *testing.T) {
	for file, text := range map[string]string{
		"/proc/sys/user/max_user_namespaces":                     "0",
		"/proc/sys/kernel/unprivileged_userns_clone":             "0",
		"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1",
	} {
		read := func(name string) ([]byte, error) {
			if name == file {
				return []byte(text + "\n"), nil
			}
			return nil, fs.ErrNotExist
		}
		name := strings.ReplaceAll(strings.TrimPrefix(file, "/proc/sys/"), "/", ".")
		if got := remedy(read); !strings.Contains(got, "sysctl "+name+"=") {
			t.Errorf("%s: got %q", file, got)
		}
	}
	none := func(string) ([]byte, error) { return nil, fs.ErrNotExist }
	if got := remedy(none); !strings.Contains(got, "run stepexec as root") {
		t.Errorf("without a switch: %q", got)
	}
}
