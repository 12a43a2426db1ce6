package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
)

// makeVolumes gives the step the volumes that its image declares, and those that it asks for
// itself: mounts of the type volume without a source. Each is a folder on the state root's own file
// system. It starts with the content that the image has there, with owners and modes, and is
// removed with the step. Programs that cannot work on an overlay, such as dockerd, can thus work in
// their volumes.
//
// A mount that asks for Fill, a folder that stays, starts the same way at its first use.
//
// The step is copied, so a kept copy of it, or a program that joins it, does not know these
// folders.
func (s *Sandbox) makeVolumes(ctx context.Context, h *Host, rootfs string) error {
	step := *s.step
	step.Mounts = slices.Clone(step.Mounts)
	for _, place := range imageVolumes(&step) {
		step.Mounts = append(step.Mounts, Mount{Type: "volume", Destination: place, Options: []string{"rbind", "rw"}})
	}
	dir := filepath.Join(h.dir, "anonymous", step.ID)
	made, changed := false, false
	for i := range step.Mounts {
		m := &step.Mounts[i]
		if m.Fill {
			owned, err := s.fillOnce(ctx, rootfs, m)
			if err != nil {
				return fmt.Errorf("fill the volume at %s: %w", m.Destination, err)
			}
			changed = changed || owned != m.Owned
			m.Owned = owned
		}
		if m.Type != "volume" {
			continue
		}
		if !made {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
			s.release, made = append(s.release, func() error { return beneath.RemoveAll(dir) }), true
		}
		m.Type, m.Source = "bind", filepath.Join(dir, strconv.Itoa(i))
		if err := s.fillVolume(ctx, rootfs, m.Destination, m.Source); err != nil {
			return fmt.Errorf("make the volume at %s: %w", m.Destination, err)
		}
	}
	if made || changed {
		s.step = &step
	}
	return nil
}

// imageVolumes returns the mount points of the volumes that the image declares, sorted. A mount of
// the step at the same place replaces the volume. Images for systemd declare /sys/fs/cgroup, where
// they may mount nothing: such places are skipped.
func imageVolumes(step *Step) []string {
	var places []string
	for declared := range step.Config.Volumes {
		place := path.Join("/", declared)
		taken := slices.ContainsFunc(step.Mounts, func(m Mount) bool { return path.Clean(m.Destination) == place })
		if !taken && !isReserved(place) {
			places = append(places, place)
		}
	}
	slices.Sort(places)
	return slices.Compact(places)
}

// isReserved reports whether an image may not decide about a place.
func isReserved(place string) bool {
	for _, dir := range []string{"/dev", "/run/secrets", path.Dir(ScriptPath)} {
		if place == dir || strings.HasPrefix(place, dir+"/") {
			return true
		}
	}
	return place == "/" || isKernelPath(place)
}

// fillVolume creates the folder of a volume and copies into it the files that the image has at that
// place. The place is looked up beneath the image's root: a link there must not lead to the host's
// files.
func (s *Sandbox) fillVolume(ctx context.Context, rootfs, place, folder string) error {
	uid, gid, err := hostOwner(&s.step.Security, 0, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(os.Mkdir(folder, 0o755), os.Chmod(folder, 0o755), os.Chown(folder, uid, gid)); err != nil {
		return err
	}
	_, err = copyPlace(ctx, rootfs, place, folder)
	return err
}

// copyPlace copies what the image has at a place, with owner and mode, into an empty folder. It
// reports whether the image has a directory there.
func copyPlace(ctx context.Context, rootfs, place, folder string) (has bool, err error) {
	from, err := openInRootfs(rootfs, strings.TrimPrefix(place, "/"), unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer from.Close()
	return true, copyLayers(ctx, []string{fmt.Sprintf("/proc/self/fd/%d/.", from.Fd())}, folder)
}

// fillOnce gives a folder that stays what the image has at its place, if the folder is empty. It
// reports whether the folder is still to be given to the container's user: not when it has got its
// owner from an image.
//
// Another run may have the folder mounted already, so it must remain the same directory: a copy is
// made beside it, whose entries are moved into it.
func (s *Sandbox) fillOnce(ctx context.Context, rootfs string, m *Mount) (owned bool, err error) {
	folder, err := os.Open(m.Source)
	if err != nil {
		return false, err
	}
	defer folder.Close() // and with it the lock
	if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX); err != nil {
		return false, err
	}
	before, err := folder.Stat()
	if err != nil {
		return false, err
	}
	owned = m.Owned && ownerOf(before) == os.Geteuid()
	if entries, err := folder.Readdirnames(1); len(entries) > 0 || !errors.Is(err, io.EOF) {
		return owned, err
	}
	beside := filepath.Join(filepath.Dir(m.Source), "filling")
	if err := beneath.RemoveAll(beside); err != nil { // of a run that was killed
		return false, err
	}
	if err := os.Mkdir(beside, 0o700); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, beneath.RemoveAll(beside)) }()
	has, err := copyPlace(ctx, rootfs, m.Destination, beside)
	if err != nil || !has {
		return owned, err
	}
	if err := moveEntries(beside, m.Source); err != nil {
		return false, err
	}
	after, err := os.Lstat(beside)
	if err != nil {
		return false, err
	}
	return m.Owned && ownerOf(after) == os.Geteuid(), copyMetadata(beside, m.Source)
}

func ownerOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

// moveEntries moves all that is in one directory into another of the same file system.
func moveEntries(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := os.Rename(filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}
