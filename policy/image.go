package policy

import (
	"errors"
	"path"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// imagePattern checks the pattern of an image and writes it with its registry.
// A * stands for anything but a slash; /** at the end for all below. A pattern
// without a tag or digest matches every one.
func imagePattern(pattern string) (string, error) {
	if _, err := path.Match(strings.TrimSuffix(pattern, "/**"), ""); err != nil || pattern == "" || strings.HasPrefix(pattern, "/") {
		return "", errors.New("is not a pattern of images: write it like docker.io/plugins/docker or registry.example.com/ci/*")
	}
	first, _, several := strings.Cut(pattern, "/")
	switch isHost := strings.ContainsAny(first, ".:") || first == "localhost"; {
	case !several:
		return "docker.io/library/" + pattern, nil
	case !isHost:
		return "docker.io/" + pattern, nil
	}
	return strings.Replace(pattern, "index.docker.io/", "docker.io/", 1), nil
}

// matchesImage compares whole names: a pattern plugins/docker must not let in
// evil.example.com/plugins/docker or plugins/docker-evil. What is no reference
// of a registry, such as a directory, matches nothing.
func matchesImage(pattern, image string) bool {
	if strings.HasPrefix(image, "/") || strings.Contains(image, "://") {
		return false
	}
	ref, err := name.ParseReference(image)
	if err != nil {
		return false
	}
	repository := strings.Replace(ref.Context().Name(), "index.docker.io/", "docker.io/", 1)
	if dir, ok := strings.CutSuffix(pattern, "/**"); ok {
		for repository != "." && repository != "/" {
			repository = path.Dir(repository)
			if ok, _ := path.Match(dir, repository); ok {
				return true
			}
		}
		return false
	}
	separator := ":"
	if _, isDigest := ref.(name.Digest); isDigest {
		separator = "@"
	}
	untagged, _ := path.Match(pattern, repository)
	exact, _ := path.Match(pattern, repository+separator+ref.Identifier())
	return untagged || exact
}
