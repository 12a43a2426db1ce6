package pull_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stepexec/stepexec/beneath"
	"github.com/stepexec/stepexec/pull"
)

// A step may swap the image of a later step for a link to a file of the host.
func TestImageOfThisMachineIsOpenedWhereItsPlaceIs(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(outside, "image.tar"), nil, 0o600),
		os.Symlink(outside, filepath.Join(dir, "link")), os.Symlink(outside+"/image.tar", filepath.Join(dir, "image.tar"))); err != nil {
		t.Fatal(err)
	}
	options := pull.Options{Place: func(path string) beneath.Path { return beneath.At(path, dir) }}
	for _, name := range []string{"oci:" + dir + "/link", "oci-archive:" + dir + "/image.tar", "docker-archive:" + dir + "/link/image.tar"} {
		if _, err := pull.Resolve(t.Context(), parsed(t, name), options); !errors.Is(err, beneath.ErrLeadsOut) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
