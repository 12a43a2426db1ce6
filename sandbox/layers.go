package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/stepexec/stepexec/unpack/erofs"
)

// layers are the image layers that are files (EROFS images), as this run has mounted them. Each is
// mounted once per run, so that the steps share the kernel's page cache of the files. Host.Close
// unmounts them.
type layers struct {
	dir    string      // mount points, one folder each
	images *erofs.Kept // mounts images

	mu     sync.Mutex
	mounts map[string]string // folder by path of the image, or by path and ids
}

// lowerdirs returns directories for an image's layers: directories as they are, and the others
// mounted. For a step with a user namespace all of them are mounted with its ids.
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

// idmapped mounts the directories again with mapped ids: a file of an id of the container appears
// there as a file of the corresponding id on the host.
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

// place creates an empty directory as a mount point.
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
	if err := l.images.MountAt(image, dir); err != nil {
		return "", fmt.Errorf("mount layer: %w", err)
	}
	l.mounts[image] = dir
	return dir, nil
}
