package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
	"github.com/stepexec/stepexec/sandbox/childinit"
)

// A runtime makes the mount points that an image lacks: directories and empty files, in the step's
// upper directory. Making and removing a dozen of them for each step takes some milliseconds. So
// they are made once, in ROOT/mountpoints/KEY, and are the uppermost layer of the steps that need
// the same ones. KEY says which they are. They are never changed; a step that finds them damaged,
// as after a power loss, leaves them alone and has the runtime make its own.

const (
	mountPointDirs   = 64 // sets of mount points below a state root; further steps use none
	mountPointLayers = 30 // layers of an image in which mount points are looked for; images with more use none
	mountPointMode   = 0o755
)

// mountPoint is a place in a root file system where something is mounted.
type mountPoint struct {
	path  string // without the slash in front
	isDir bool
}

// mountPointsFor returns the folder of the mount points that the image lacks, or "" if the runtime
// is to make them.
func (h *Host) mountPointsFor(step *Step, lowerdirs []string) (string, error) {
	if h.runtimeCalls || step.Advanced.Spec != nil || step.Advanced.SpecPatch != nil || hasUserNamespace(&step.Security) || len(lowerdirs) > mountPointLayers {
		return "", nil
	}
	points := slices.DeleteFunc(wantedMountPoints(step), func(p mountPoint) bool { return !isMissing(p.path, lowerdirs) })
	if len(points) == 0 {
		return "", nil
	}
	slices.SortFunc(points, func(a, b mountPoint) int { return strings.Compare(a.path, b.path) })
	points = slices.Compact(points)
	var list []byte
	for _, p := range points {
		list = fmt.Appendf(list, "%q %t\n", p.path, p.isDir)
	}
	key := sha256.Sum256(list)
	all := filepath.Join(h.root(), "mountpoints")
	if isInAny(h.root(), lowerdirs) {
		return "", nil
	}
	folder := filepath.Join(all, hex.EncodeToString(key[:16]))
	_, err := os.Lstat(folder)
	if errors.Is(err, os.ErrNotExist) {
		err = h.makeMountPoints(all, folder, points)
	}
	if err != nil {
		return "", fmt.Errorf("make mount points: %w", err)
	}
	if !areMountPoints(folder, points) {
		return "", nil
	}
	return folder, nil
}

// isInAny reports whether a folder is in one of others, or is one, as the state root is in that of
// rootfs:/. An overlay refuses layers of which one is in another (ELOOP).
func isInAny(folder string, others []string) bool {
	folder, err := filepath.EvalSymlinks(folder)
	for err == nil {
		var at os.FileInfo
		if at, err = os.Stat(folder); err != nil {
			break
		}
		isSame := func(other string) bool {
			info, err := os.Stat(other)
			return err == nil && os.SameFile(at, info)
		}
		if slices.ContainsFunc(others, isSame) {
			return true
		}
		if folder == filepath.Dir(folder) {
			return false
		}
		folder = filepath.Dir(folder)
	}
	return true // not known
}

// wantedMountPoints returns the mount points that are known before a step's specification is.
// Volumes are not among them: what the image has at their places decides what they begin with.
func wantedMountPoints(step *Step) []mountPoint {
	points := []mountPoint{{"proc", true}, {"dev", true}, {"sys", true}, {"etc/hosts", false}, {"etc/resolv.conf", false}}
	if step.Script != nil {
		points = append(points, mountPoint{strings.TrimPrefix(ScriptPath, "/"), false})
	}
	if step.Advanced.Init {
		points = append(points, mountPoint{strings.TrimPrefix(childinit.Path, "/"), false})
	}
	if len(step.Secrets) > 0 {
		points = append(points, mountPoint{strings.TrimPrefix(secretsPath, "/"), true})
	}
	for _, m := range step.Mounts {
		info, err := os.Stat(m.Source)
		if m.Type != "bind" || m.Fill || err != nil || !path.IsAbs(m.Destination) {
			continue
		}
		points = append(points, mountPoint{path.Clean(m.Destination)[1:], info.IsDir()})
	}
	// What lies in another mount is not looked for in the root file system, and two of one path
	// cannot both be made.
	return slices.DeleteFunc(slices.Clone(points), func(p mountPoint) bool {
		return p.path == "" || slices.ContainsFunc(points, func(other mountPoint) bool {
			return isWithin(p.path, other.path) || p.path == other.path && p.isDir != other.isDir
		}) || slices.ContainsFunc(step.Mounts, func(m Mount) bool { return isWithin("/"+p.path, path.Clean(m.Destination)) })
	})
}

// isWithin reports whether a path is below another.
func isWithin(p, dir string) bool { return strings.HasPrefix(p, dir+"/") }

// isMissing reports whether no layer has anything at a path, and whether a directory that is made
// on top of the layers as makeMountPoints makes it changes nothing about the directories above the
// path: they belong to root, have the same mode and no attributes, which may make one opaque. A
// whiteout is not a directory.
func isMissing(path string, layers []string) bool {
	for _, layer := range layers {
		place := layer
		for name := range strings.SplitSeq(path, "/") {
			place += "/" + name
			var st unix.Stat_t
			err := unix.Lstat(place, &st)
			if errors.Is(err, unix.ENOENT) {
				break // and so is the rest of the path
			}
			if err != nil || place == layer+"/"+path || !isPlainDirectory(place, &st) {
				return false
			}
		}
	}
	return true
}

// isPlainDirectory reports whether a directory has the owner, the mode and the attributes of those
// that makeMountPoints makes.
func isPlainDirectory(name string, st *unix.Stat_t) bool {
	if st.Mode != unix.S_IFDIR|mountPointMode || st.Uid != 0 || st.Gid != 0 {
		return false
	}
	attributes, err := unix.Llistxattr(name, nil)
	return err == nil && attributes == 0
}

// makeMountPoints makes the folder, which is there whole or not at all, unless there are too many.
func (h *Host) makeMountPoints(all, folder string, points []mountPoint) error {
	if err := os.MkdirAll(all, 0o700); err != nil {
		return err
	}
	if others, err := os.ReadDir(all); err != nil || len(others) >= mountPointDirs {
		return err
	}
	made, err := os.MkdirTemp(h.dir, "mountpoints-") // goes with the run
	if err != nil {
		return err
	}
	for _, p := range points {
		place := made
		names := strings.Split(p.path, "/")
		for i, name := range names {
			place = filepath.Join(place, name)
			if i < len(names)-1 || p.isDir {
				err = ignoreExists(os.Mkdir(place, mountPointMode))
			} else {
				err = os.WriteFile(place, nil, mountPointMode)
			}
			// The umask may have narrowed the mode.
			if err = errors.Join(err, os.Chmod(place, mountPointMode)); err != nil {
				return errors.Join(err, beneath.RemoveAll(made))
			}
		}
	}
	err = errors.Join(os.Chmod(made, mountPointMode), os.Rename(made, folder))
	if err == nil {
		return nil
	}
	if _, there := os.Lstat(folder); there == nil { // another run was faster
		err = nil
	}
	return errors.Join(err, beneath.RemoveAll(made))
}

func ignoreExists(err error) error {
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}

// areMountPoints reports whether a folder has the mount points, as makeMountPoints makes them.
func areMountPoints(folder string, points []mountPoint) bool {
	for _, p := range points {
		place := folder
		for name := range strings.SplitSeq(p.path, "/") {
			place += "/" + name
			var st unix.Stat_t
			if unix.Lstat(place, &st) != nil {
				return false
			}
			isFile := !p.isDir && place == folder+"/"+p.path
			if isFile && (st.Mode != unix.S_IFREG|mountPointMode || st.Size != 0 || st.Uid != 0) || !isFile && !isPlainDirectory(place, &st) {
				return false
			}
		}
	}
	return true
}
