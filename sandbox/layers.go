package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/stepexec/stepexec/unpack/erofs"
)

// layers are the layers of images that are files, EROFS images, as this run has mounted them. Each is mounted once a
// run: its steps share what the kernel keeps in memory of the files. Host.Close unmounts them.
type layers struct {
	dir string // where they are mounted, a folder each

	mu     sync.Mutex
	mounts map[string]string // path of the image to its folder
}

// lowerdirs returns directories for an image's layers: those that are directories, and the others mounted.
func (l *layers) lowerdirs(all []string) ([]string, error) {
	var dirs []string
	for _, path := range all {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("layer: %w", err)
		}
		if !info.IsDir() {
			if path, err = l.mount(path); err != nil {
				return nil, err
			}
		}
		dirs = append(dirs, path)
	}
	return dirs, nil
}

func (l *layers) mount(image string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if dir, ok := l.mounts[image]; ok {
		return dir, nil
	}
	dir := filepath.Join(l.dir, strconv.Itoa(len(l.mounts)+1))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if err := erofs.MountAt(image, dir); err != nil {
		return "", fmt.Errorf("mount layer: %w", err)
	}
	l.mounts[image] = dir
	return dir, nil
}
