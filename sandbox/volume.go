package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
)

// makeVolumes gives the step the volumes that its image declares, and those that it asks for
// itself: mounts of the type volume without a source. Each is a folder on the state root's own file
// system. It starts with the content that the image has there, with owners and modes, and is
// removed with the step. Programs that cannot work on an overlay, such as dockerd, can thus work in
// their volumes.
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
	made := false
	for i := range step.Mounts {
		m := &step.Mounts[i]
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
	if made {
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
	from, err := openInRootfs(rootfs, strings.TrimPrefix(place, "/"), unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer from.Close()
	return copyLayers(ctx, []string{fmt.Sprintf("/proc/self/fd/%d/.", from.Fd())}, folder)
}
