package sandbox

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
)

// stageSources makes sure that every bind mount has a source. Sources in directories that steps
// write to are first mounted at a place that no step can reach, and that mount is passed to the
// runtime. Otherwise an earlier step may have put a link to /etc in place of such a source, or may
// do so between its check and its use (CVE-2017-1002101, CVE-2024-1753): what is opened beneath the
// directory is beneath it, and a mount keeps leading to it. The returned release removes the
// mounts.
//
// A missing source is an error unless the step asks for it to be created. Docker creates it, as
// root and often because of a typing error.
func (h *Host) stageSources(step *Step, user specs.User, list []specs.Mount) (release func() error, err error) {
	stage := staging{dir: filepath.Join(h.dir, "sources", step.ID)}
	if !hasUserNamespace(&step.Security) {
		stage.user, stage.warn = &user, h.warn
	}
	if h.rootless {
		stage.lent = &h.lent
	}
	for _, m := range step.Mounts {
		if m.Type != "bind" {
			continue
		}
		source, err := stage.source(step, m)
		if errors.Is(err, os.ErrNotExist) {
			err = errors.New("no such file or directory on the host (create it, or set create: true)")
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("mount %s at %s: %w", m.Source, m.Destination, err), stage.release())
		}
		for i := range list {
			if list[i].Destination == filepath.Clean(m.Destination) {
				list[i].Source = source
			}
		}
	}
	return stage.release, nil
}

// staging holds the sources of one step's mounts while they are mounted.
type staging struct {
	dir   string
	paths []string
	user  *specs.User // owner of mounts that are Owned; nil: not supported
	lent  *lent       // folders that a user may write to without owning them; nil: mounts can have other ids
	warn  func(line string)
}

// source returns the path from which the runtime should mount the source of m.
func (s *staging) source(step *Step, m Mount) (string, error) {
	source := step.at(m.Source)
	if m.Owned && s.user != nil && s.user.UID != 0 {
		return s.owned(source, m)
	}
	if source.Root() == "" || source.IsRoot() {
		if m.Create {
			return m.Source, os.MkdirAll(m.Source, 0o755)
		}
		_, err := os.Stat(m.Source)
		return m.Source, err
	}
	file, err := openSource(source, m)
	if err != nil {
		return "", err
	}
	defer file.Close()
	return s.mount(file)
}

// openSource opens a source, and makes the folder of a mount that may be made.
func openSource(source beneath.Path, m Mount) (*os.File, error) {
	file, err := source.Open(0)
	if errors.Is(err, os.ErrNotExist) && m.Create {
		return source.MakeDir(0o755)
	}
	return file, err
}

// owned mounts a source so that it belongs to the step's user.
func (s *staging) owned(source beneath.Path, m Mount) (string, error) {
	file, err := openSource(source, m)
	if err != nil {
		return "", err
	}
	defer file.Close()
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		return "", err
	}
	if stat.Uid == s.user.UID && stat.Gid == s.user.GID { // on any file system
		return s.mount(file)
	}
	if s.lent != nil {
		if err := s.lent.lend(file, m.Source, s.user.UID); err != nil {
			s.warn(fmt.Sprintf("user %d may not be able to write to %s: %v (this needs a file system with access control lists)", s.user.UID, m.Source, err))
		}
		return s.mount(file)
	}
	namespace, err := newUserNamespace(&Security{UIDMap: exchanged(stat.Uid, s.user.UID), GIDMap: exchanged(stat.Gid, s.user.GID)})
	if err != nil {
		return "", err
	}
	defer namespace.Close()
	target, err := s.place(file)
	if err != nil {
		return "", err
	}
	if err = beneath.MountMapped(file, target, namespace); err == nil {
		return target, nil
	}
	s.warn(fmt.Sprintf("user %d cannot be given %s, and may not be able to write there: %v (this needs a file system that can be mounted with other ids, such as ext4, xfs or btrfs)", s.user.UID, m.Source, err))
	return target, beneath.Mount(file, target)
}

// exchanged swaps two ids, and maps all others to themselves.
func exchanged(a, b uint32) []IDMap {
	a, b = min(a, b), max(a, b)
	if a == b {
		return []IDMap{{Size: math.MaxUint32}}
	}
	var maps []IDMap
	add := func(from, to, size uint32) {
		if size > 0 {
			maps = append(maps, IDMap{Container: from, Host: to, Size: size})
		}
	}
	add(0, 0, a)
	add(a, b, 1)
	add(a+1, a+1, b-a-1)
	add(b, a, 1)
	add(b+1, b+1, math.MaxUint32-b-1)
	return maps
}

// mount mounts an open file or directory at a new place.
func (s *staging) mount(file *os.File) (string, error) {
	target, err := s.place(file)
	if err != nil {
		return "", err
	}
	return target, beneath.Mount(file, target)
}

// stageLayers mounts the layers that are host directories in which steps write, such as the
// workspace folder of an image rootfs:DIR, and returns all layers. A step that has run since the
// image was checked may have put a link to / there. Nobody can change layers of the store.
func (h *Host) stageLayers(step *Step) (layers []string, release func() error, err error) {
	stage := staging{dir: filepath.Join(h.dir, "sources", step.ID+"-layers")}
	store := filepath.Dir(filepath.Dir(h.dir)) + "/"
	for _, layer := range step.Lowerdirs {
		path := step.at(layer)
		if path.Root() != "" && !strings.HasPrefix(layer, store) {
			file, err := path.Open(unix.O_DIRECTORY)
			if err == nil {
				layer, err = stage.mount(file)
				err = errors.Join(err, file.Close())
			}
			if err != nil {
				return nil, nil, errors.Join(fmt.Errorf("image %s: %w", step.Image, err), stage.release())
			}
		}
		layers = append(layers, layer)
	}
	return layers, stage.release, nil
}

// at returns a path of the host that the step names, beneath the directories that it must not lead
// out of.
func (s *Step) at(path string) beneath.Path {
	return beneath.At(path, append([]string{s.Workspace}, s.Roots...)...)
}

// place creates an empty file or directory as a mount point.
func (s *staging) place(file *os.File) (string, error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return "", err
	}
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	target := filepath.Join(s.dir, strconv.Itoa(len(s.paths)))
	if info.IsDir() {
		err = os.Mkdir(target, 0o700)
	} else {
		err = os.WriteFile(target, nil, 0o600)
	}
	if err == nil {
		s.paths = append(s.paths, target)
	}
	return target, err
}

// release unmounts the mounts and removes their mount points one by one: where unmounting failed,
// nothing of the workspace may be deleted.
func (s *staging) release() error {
	var failed []error
	for _, path := range s.paths {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) { // not mounted
			failed = append(failed, fmt.Errorf("unmount %s: %w", path, err))
			continue
		}
		failed = append(failed, os.Remove(path))
	}
	if s.paths != nil {
		failed = append(failed, os.Remove(s.dir))
	}
	return errors.Join(failed...)
}
