package run

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Whoever finds the folder of a cache finds it with its mode, also while others make it.
func TestTheFolderOfACacheIsThereWithItsMode(t *testing.T) {
	root := t.TempDir()
	var wait sync.WaitGroup
	for i := range 200 {
		dir := filepath.Join(root, fmt.Sprint(i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		data := filepath.Join(dir, "data")
		for range 4 {
			wait.Go(func() {
				if err := makeData(data); err != nil {
					t.Error(err)
				}
				if info, err := os.Stat(data); err != nil {
					t.Error(err)
				} else if info.Mode().Perm() != 0o777 {
					t.Errorf("the mode is %v", info.Mode())
				}
			})
		}
	}
	wait.Wait()
	if left, err := filepath.Glob(filepath.Join(root, "*", "new-*")); len(left) > 0 || err != nil {
		t.Errorf("left behind: %q, %v", left, err)
	}
}
