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
	mounts map[string]string // path of the image, or path and ids, to its folder
}

// lowerdirs returns directories for an image's layers: those that are directories, and the others mounted; for a step
// with a user namespace all of them mounted with its ids.
func (l *layers) lowerdirs(all []string, s *Security) ([]string, error) {
	var dirs []string
	if len(all) == 0 { // an image without layers is an empty folder; an overlay needs one
		empty, err := l.empty()
		if err != nil {
			return nil, fmt.Errorf("layer: %w", err)
		}
		dirs = append(dirs, empty)
	}
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
	if hasUserNamespace(s) {
		return l.idmapped(dirs, s)
	}
	return dirs, nil
}

// idmapped returns the directories mounted once more, where what belongs to an id of the container belongs to the one
// on the host that it is mapped to.
func (l *layers) idmapped(dirs []string, s *Security) (mapped []string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	namespace, err := newUserNamespace(s)
	if err != nil {
		return nil, err
	}
	defer namespace.Close()
	for _, dir := range dirs {
		key := fmt.Sprint(dir, s.UIDMap, s.GIDMap)
		if l.mounts[key] == "" {
			place, err := l.place()
			if err != nil {
				return nil, err
			}
			if err := mountIDMapped(dir, place, namespace); err != nil {
				return nil, err
			}
			l.mounts[key] = place
		}
		mapped = append(mapped, l.mounts[key])
	}
	return mapped, nil
}

// place makes an empty directory to mount at.
func (l *layers) place() (string, error) {
	dir := filepath.Join(l.dir, strconv.Itoa(len(l.mounts)+1))
	return dir, os.MkdirAll(dir, 0o700)
}

// empty returns the root file system of an image without layers.
func (l *layers) empty() (string, error) {
	dir := filepath.Join(l.dir, "empty")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

func (l *layers) mount(image string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if dir, ok := l.mounts[image]; ok {
		return dir, nil
	}
	dir, err := l.place()
	if err != nil {
		return "", err
	}
	if err := erofs.MountAt(image, dir); err != nil {
		return "", fmt.Errorf("mount layer: %w", err)
	}
	l.mounts[image] = dir
	return dir, nil
}
