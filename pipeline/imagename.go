package pipeline

import "strings"

// IsImage reports whether an image is one that a rule names: the same repository of the same
// registry, and the same tag or digest where the rule has one.
func IsImage(rule, image string) bool {
	want, got := partsOf(rule), partsOf(image)
	switch {
	case want.repository != got.repository || want.digest != "" && want.digest != got.digest:
		return false
	case want.tag == "" || want.digest != "":
		return true
	}
	return want.tag == got.tag && got.digest == "" // a digest alone decides what an image is
}

// reference is an image in full.
type reference struct{ repository, tag, digest string }

func partsOf(image string) reference {
	var r reference
	image, r.digest, _ = strings.Cut(image, "@")
	slash := strings.LastIndexByte(image, '/')
	if colon := strings.LastIndexByte(image, ':'); colon > slash {
		image, r.tag = image[:colon], image[colon+1:]
	}
	r.repository = image
	first, rest, several := strings.Cut(image, "/")
	isHost := strings.ContainsAny(first, ".:") || first == "localhost"
	switch {
	case !several:
		r.repository = "docker.io/library/" + image
	case !isHost:
		r.repository = "docker.io/" + image
	case first == "index.docker.io":
		r.repository = "docker.io/" + rest
	}
	return r
}
