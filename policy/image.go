package policy

import (
	"errors"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/stepexec/stepexec/pull"
)

// image is a pattern of images in registries.
type image struct {
	name      string        // with its registry; a * stands for anything but a slash, and /** at the end for all below
	tag       string        // pattern; "" matches every tag
	digest    digest.Digest // "" matches every digest
	any       bool          // every image of every registry
	asItLikes bool          // of privileged_images: the step decides what it runs
}

// parseImage reads a pattern such as plugins/docker, ghcr.io/org/*:1.* or
// quay.io/a/b@sha256:HEX.
func parseImage(pattern string) (image, error) {
	invalid := errors.New("is not a pattern of images: write it like docker.io/plugins/docker or registry.example.com/ci/*")
	name, hash, hasDigest := strings.Cut(pattern, "@")
	i := image{digest: digest.Digest(hash)}
	if hasDigest && i.digest.Validate() != nil {
		return image{}, invalid
	}
	last := name[strings.LastIndexByte(name, '/')+1:]
	if _, tag, tagged := strings.Cut(last, ":"); tagged {
		name, i.tag = strings.TrimSuffix(name, ":"+tag), tag
		if tag == "" {
			return image{}, invalid
		}
	}
	for _, part := range []string{strings.TrimSuffix(name, "/**"), i.tag} {
		if _, err := path.Match(part, ""); err != nil {
			return image{}, invalid
		}
	}
	if name == "" || strings.HasPrefix(name, "/") || strings.ContainsAny(pattern, " \t\n") {
		return image{}, invalid
	}
	first, rest, several := strings.Cut(name, "/")
	switch isHost := strings.ContainsAny(first, ".:") || first == "localhost"; {
	case !several:
		name = "docker.io/library/" + name
	case !isHost:
		name = "docker.io/" + name
	case first == "index.docker.io":
		name = "docker.io/" + rest
	}
	i.name = name
	return i, nil
}

// matches compares whole names of registries' images: a pattern plugins/docker must not let
// in evil.example.com/plugins/docker, plugins/docker-evil or oci:plugins/docker. A digest
// decides alone what an image is, so a pattern with a tag matches no reference that has a
// digest.
func (i *image) matches(ref pull.Reference) bool {
	if ref.Scheme != pull.SchemeRegistry {
		return false
	}
	if i.any {
		return true
	}
	switch {
	case i.digest != "" && ref.Digest != i.digest:
		return false
	case i.tag != "" && (ref.Digest != "" && i.digest == "" || !matchesText(i.tag, ref.Tag)):
		return false
	}
	name := strings.ToLower(ref.Name) // names of hosts have no case, and 443 is their port anyway
	return matchesName(strings.ToLower(i.name), strings.Replace(name, ":443/", "/", 1))
}

func matchesName(pattern, name string) bool {
	dir, isTree := strings.CutSuffix(pattern, "/**")
	if !isTree {
		return matchesText(pattern, name)
	}
	for name != "." && name != "/" {
		name = path.Dir(name)
		if matchesText(dir, name) {
			return true
		}
	}
	return false
}

func matchesText(pattern, text string) bool {
	ok, err := path.Match(pattern, text)
	return ok && err == nil
}
