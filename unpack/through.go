package unpack

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is the number of symbolic links that a path may contain, as in the kernel
// (path_resolution(7)).
const maxLinks = 40

// through returns the path that an entry's name leads to when symbolic links of this layer lie on
// the way: after lib -> usr/lib, the entry lib/m is usr/lib/m. The last component is not followed:
// an entry replaces a link of its own name.
//
// Other extractors let the kernel follow links beneath their own root. Here links are resolved by
// name, from what the layer has so far. The result goes through openBeneath, which follows no
// links, so no entry is ever written outside, whatever a link says. An absolute target begins at
// the layer's root, and .. stops there. Links of lower layers are not followed: layers are unpacked
// independently, and a directory hides a lower link, as in docker and podman.
func (t *tree) through(path string) (string, error) {
	parent, base := split(path)
	if t.dirs[parent] != nil {
		return path, nil
	}
	at, links := "", 0
	for rest := strings.Split(parent, "/"); len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at, _ = split(at)
			continue
		}
		target, isLink, err := t.linkAt(at, part)
		if err != nil {
			return "", err
		}
		if !isLink {
			at = join(at, part)
			continue
		}
		if links++; links > maxLinks {
			return "", failed("follow symbolic links of the layer", unix.ELOOP)
		}
		if strings.HasPrefix(target, "/") {
			at = ""
		}
		rest = slices.Concat(strings.Split(target, "/"), rest)
	}
	return cleanName(join(at, base), t.budget.limits.Depth)
}

// linkAt returns the target of the symbolic link name in the directory dir of this layer.
func (t *tree) linkAt(dir, name string) (target string, isLink bool, err error) {
	path := join(dir, name)
	if t.dirs[dir] == nil || t.dirs[path] != nil {
		return "", false, nil
	}
	kind, err := t.sink.kind(path)
	switch {
	case errors.Is(err, unix.ENOENT):
		return "", false, nil
	case err != nil:
		return "", false, failed("stat", err)
	case kind != unix.S_IFLNK:
		return "", false, nil
	}
	target, err = t.sink.readlink(path)
	return target, true, failed("read symbolic link", err)
}
