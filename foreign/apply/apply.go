// Package apply unpacks layers with stepexec where the test suites of other projects expect their
// own code to do it. Those suites want a directory that changes; stepexec makes layers that are
// mounted on top of each other. So the directory as it is becomes one layer, what is to be applied
// another one, and the mount of both is copied back.
package apply

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/unpack"
)

// Snapshot returns the tar of a directory, by GNU tar.
func Snapshot(ctx context.Context, dir string) ([]byte, error) { return archive(ctx, dir) }

func archive(ctx context.Context, dir string, more ...string) ([]byte, error) {
	args := []string{"--create", "--format=posix", "--numeric-owner", "--atime-preserve=system", "--xattrs", "--xattrs-include=*",
		"--pax-option=delete=atime,delete=ctime", "--directory", dir}
	cmd := exec.CommandContext(ctx, "tar", append(append(args, more...), ".")...)
	var failure bytes.Buffer
	cmd.Stderr = &failure
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("tar: %w: %s", err, failure.String())
	}
	return out, nil
}

// Layers makes dir what layers of plain tars are when they are mounted, the lowest first.
func Layers(ctx context.Context, dir string, tars ...[]byte) error {
	var layers []unpack.Layer
	for _, content := range tars {
		d := digest.FromBytes(content)
		layers = append(layers, unpack.Layer{DiffID: d, Digest: d, Size: int64(len(content)), Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(content)), nil
		}})
	}
	return mounted(ctx, layers, func(merged string) error { return replace(ctx, dir, merged) })
}

// Image returns the tar of the root file system of the image that a reference names, as
// [pull.ParseReference] takes them.
func Image(ctx context.Context, reference string) (root []byte, err error) {
	ref, err := pull.ParseReference(reference)
	if err != nil {
		return nil, err
	}
	image, err := pull.Resolve(ctx, ref, pull.Options{Platform: "linux/amd64"})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	var layers []unpack.Layer
	for _, l := range image.Layers {
		layers = append(layers, unpack.Layer{DiffID: l.DiffID, Digest: l.Digest, Size: l.Size, Open: l.Open, Again: l.Again})
	}
	err = mounted(ctx, layers, func(merged string) error {
		root, err = archive(ctx, merged, `--transform=flags=r;s,^\./,,`)
		return err
	})
	return root, err
}

// mounted unpacks layers and calls use with a directory where they are mounted.
func mounted(ctx context.Context, layers []unpack.Layer, use func(merged string) error) (err error) {
	tmp, err := os.MkdirTemp("", "foreign-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	store, err := unpack.OpenStore(filepath.Join(tmp, "store"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	store.Format = unpack.FormatDirectories
	lowerdirs, err := store.Unpack(ctx, layers, nil)
	if err != nil {
		return err
	}
	merged := filepath.Join(tmp, "merged")
	if err := os.Mkdir(merged, 0o700); err != nil {
		return err
	}
	slices.Reverse(lowerdirs)
	if len(lowerdirs) == 1 { // an overlay wants two
		return use(lowerdirs[0])
	}
	if err := unix.Mount("overlay", merged, "overlay", unix.MS_RDONLY, "lowerdir="+strings.Join(lowerdirs, ":")); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Unmount(merged, 0)) }()
	return use(merged)
}

// replace makes dir a copy of source. Directories keep their times of access, which no layer has.
func replace(ctx context.Context, dir, source string) error {
	accessed := map[string]syscall.Timespec{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			accessed[path] = info.Sys().(*syscall.Stat_t).Atim
		}
		return err
	})
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	if out, err := exec.CommandContext(ctx, "cp", "--archive", source+"/.", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("cp: %w: %s", err, out)
	}
	for path, at := range accessed {
		times := []unix.Timespec{unix.Timespec(at), {Nsec: unix.UTIME_OMIT}}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, times, unix.AT_SYMLINK_NOFOLLOW); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
			return err
		}
	}
	return nil
}
