package unpack

import (
	"strings"

	"golang.org/x/sys/unix"
)

const (
	pathMax = 4096 // PATH_MAX of Linux, with the final NUL
	nameMax = 255  // NAME_MAX
)

// cleanName returns the path inside the layer that a tar name stands for: no leading slash, no ".",
// no "..", and "" for the root. It refuses a name that climbs above the root, because its author
// meant a file outside. Any other ".." is resolved lexically, before symbolic links, as docker and
// containerd do.
func cleanName(name string, maxDepth int) (string, error) {
	if name == "" {
		return "", errNameless
	}
	if strings.IndexByte(name, 0) >= 0 {
		return "", unix.EINVAL
	}
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "" || part == ".":
		case part == "..":
			if len(parts) == 0 {
				return "", errClimbs
			}
			parts = parts[:len(parts)-1]
		case len(part) > nameMax:
			return "", unix.ENAMETOOLONG
		default:
			parts = append(parts, part)
		}
	}
	clean := strings.Join(parts, "/")
	if len(clean) >= pathMax {
		return "", unix.ENAMETOOLONG
	}
	if len(parts) > maxDepth {
		return "", ErrTooLarge
	}
	return clean, nil
}

// split returns the directory and the last component of a clean path.
func split(path string) (dir, base string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}

// join is the inverse of split.
func join(dir, base string) string {
	if dir == "" {
		return base
	}
	return dir + "/" + base
}
