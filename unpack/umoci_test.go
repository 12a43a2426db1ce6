package unpack_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
)

// unpackWithUmoci is umoci, which applies the layers one after the other to one directory.
func unpackWithUmoci(layout string) reference {
	return reference{
		name: umoci,
		unpack: func(t *testing.T, tag string) (string, error) {
			root := filepath.Join(plainDir(t), "rootfs")
			out, err := exec.Command("umoci", "raw", "unpack", "--image", layout+":"+tag, root).CombinedOutput()
			if err != nil {
				return "", fmt.Errorf("umoci raw unpack: %w\n%s", err, out)
			}
			return root, nil
		},
		rules: []*rule{
			{why: "a directory that no layer declares gets the time of unpacking", field: "mtime", holds: func(path string, theirs, ours place) bool {
				return isNewDirectory(path, theirs, ours) && ours.Mtime == "0.000000000"
			}},
			{why: "overlayfs also counts the names that upper layers hide", field: "links", holds: func(_ string, theirs, ours place) bool {
				return theirs.Nlink < ours.Nlink && theirs.Names == ours.Names
			}},
		},
	}
}

// isNewDirectory reports whether theirs is a directory that got its time when it was unpacked.
func isNewDirectory(_ string, theirs, _ place) bool {
	return theirs.Type == "dir" && theirs.Mtime == "now"
}
