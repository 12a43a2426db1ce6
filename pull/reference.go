package pull

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
)

// Scheme is the kind of source that a reference points to.
type Scheme string

// The schemes of a reference. A reference begins with its scheme, except for SchemeRegistry.
const (
	SchemeRegistry      Scheme = "registry"
	SchemeOCI           Scheme = "oci"
	SchemeOCIArchive    Scheme = "oci-archive"
	SchemeDir           Scheme = "dir"
	SchemeDockerArchive Scheme = "docker-archive"
	SchemeRootfs        Scheme = "rootfs"

	SchemeDockerDaemon      Scheme = "docker-daemon"
	SchemeContainersStorage Scheme = "containers-storage"
)

// Reference is a parsed image reference.
type Reference struct {
	Scheme Scheme
	// Name is the repository with its registry, such as docker.io/library/golang. For an image of
	// docker's daemon or podman's storage it is the whole name, as written. It is empty for files
	// and folders.
	Name string
	// Path is the folder or file of a local reference, cleaned; empty for other references.
	Path string
	// Tag is empty when the reference has none; a registry reference with neither tag nor digest
	// gets "latest".
	Tag string
	// Digest is empty when the reference has none. It takes precedence over Tag.
	Digest digest.Digest
}

// IsLocal reports whether the image comes from this machine: from a file, a folder, or another
// program's storage.
func (r Reference) IsLocal() bool { return r.Scheme != SchemeRegistry }

// IsEngines reports whether the image is in docker's daemon or podman's storage.
func (r Reference) IsEngines() bool {
	return r.Scheme == SchemeDockerDaemon || r.Scheme == SchemeContainersStorage
}

// String returns the reference in full, such as docker.io/library/golang:1.22.
// Parsing it gives the same Reference again.
func (r Reference) String() string {
	s := r.Name
	if r.IsLocal() {
		s = string(r.Scheme) + ":" + cmp.Or(r.Path, r.Name)
	}
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest.String()
	}
	return s
}

// ParseReference parses an image reference. It is one of
//
//	[HOST[:PORT]/]REPOSITORY[:TAG][@sha256:HEX]   a registry, by docker's rules
//	oci:DIR[:TAG][@sha256:HEX]                    an OCI image layout
//	oci-archive:FILE[:TAG][@sha256:HEX]           a tar archive of one
//	dir:DIR                                       what `skopeo copy IMAGE dir:DIR` writes
//	docker-archive:FILE[:TAG]                     what `docker save` writes
//	rootfs:DIR                                    a root file system as it is
//	docker-daemon:NAME                            an image of docker's daemon, by name or sha256:ID
//	containers-storage:NAME                       an image of podman and buildah
//
// DIR and FILE end at the first colon, except for dir and rootfs, where DIR is the whole
// rest. A registry's repository that is named like a scheme is written with its
// host: docker.io/library/oci:latest. Errors quote the reference without any
// password in it.
func ParseReference(s string) (Reference, error) {
	parse := parseRegistry
	scheme, rest, found := strings.Cut(s, ":")
	switch Scheme(scheme) {
	case SchemeDockerDaemon, SchemeContainersStorage:
		if found {
			parse = func(string) (Reference, error) { return parseEngine(Scheme(scheme), rest) }
		}
	case SchemeOCI, SchemeOCIArchive, SchemeDir, SchemeDockerArchive, SchemeRootfs:
		if found {
			parse = func(string) (Reference, error) { return parseLocal(Scheme(scheme), rest) }
		}
	}
	if strings.ContainsFunc(s, isControl) {
		parse = func(string) (Reference, error) {
			return Reference{}, errors.New("it has a control character")
		}
	}
	ref, err := parse(s)
	if err != nil && isPath(s) {
		err = fmt.Errorf("it looks like a path (write oci:%[1]s for an OCI image layout, docker-archive:%[1]s for what docker save wrote, rootfs:%[1]s for a root file system)", withoutPassword(s))
	}
	if err != nil {
		return Reference{}, fmt.Errorf("bad image reference %q: %w", withoutPassword(s), err)
	}
	return ref, nil
}

// isPath reports whether what should be a reference begins like a path. No reference does.
func isPath(s string) bool {
	return (strings.HasPrefix(s, "/") || strings.HasPrefix(s, "./") || strings.HasPrefix(s, "../") || strings.HasPrefix(s, "~/") || s == "." || s == "..") &&
		!strings.ContainsFunc(s, isControl)
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

func parseLocal(scheme Scheme, rest string) (Reference, error) {
	ref := Reference{Scheme: scheme, Path: rest}
	if scheme != SchemeRootfs && scheme != SchemeDir {
		var err error
		if rest, ref.Digest, err = cutDigest(rest); err != nil {
			return Reference{}, err
		}
		var tagged bool
		ref.Path, ref.Tag, tagged = strings.Cut(rest, ":")
		if tagged && ref.Tag == "" {
			return Reference{}, errors.New("the tag after the colon is empty")
		}
	}
	if ref.Path == "" {
		return Reference{}, fmt.Errorf("the path after %q is empty", scheme+":")
	}
	if scheme == SchemeDockerArchive && ref.Digest != "" {
		return Reference{}, errors.New("a docker-archive has no manifest digests: name the image by its tag")
	}
	ref.Path = filepath.Clean(ref.Path)
	return ref, nil
}

// cutDigest splits "REST@sha256:HEX". An "@" before anything else is part of a path.
func cutDigest(s string) (rest string, d digest.Digest, err error) {
	at := strings.LastIndex(s, "@sha256:")
	if at < 0 {
		if strings.Contains(s, "@sha512:") || strings.Contains(s, "@sha384:") {
			return "", "", errors.New("only sha256 digests are supported")
		}
		return s, "", nil
	}
	d = digest.Digest(s[at+1:])
	return s[:at], d, checkDigest(d)
}

// The grammar of https://github.com/distribution/reference and of the OCI
// distribution specification (section "Pulling manifests").
var (
	hostPattern = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(?::[0-9]{1,5})?$`)
	})
	repositoryPattern = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	})
	tagPattern = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	})
	digestPattern = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^sha256:[a-f0-9]{64}$`)
	})
)

func checkDigest(d digest.Digest) error {
	if !digestPattern().MatchString(string(d)) {
		return fmt.Errorf("%q is not a sha256 digest (sha256: and 64 lower case hex digits)", d)
	}
	return nil
}

func parseRegistry(s string) (Reference, error) {
	if strings.Contains(s, "://") {
		return Reference{}, errors.New(`leave out the "://" and what is in front of it`)
	}
	rest, d, err := cutDigest(s)
	if err != nil {
		return Reference{}, err
	}
	ref := Reference{Scheme: SchemeRegistry, Digest: d}
	host, repository := splitHost(rest)
	repository, tag, tagged := strings.Cut(repository, ":")
	switch {
	case tagged && !tagPattern().MatchString(tag):
		return Reference{}, errors.New("the tag after the colon must be 1 to 128 letters, digits, _ . or -")
	case tagged:
		ref.Tag = tag
	case d == "":
		ref.Tag = "latest"
	}
	if host == "docker.io" && repository != "" && !strings.Contains(repository, "/") {
		repository = "library/" + repository
	}
	if err := checkName(host, repository); err != nil {
		return Reference{}, err
	}
	ref.Name = host + "/" + repository
	return ref, nil
}

// splitHost separates the registry by docker's rule: the first component is the registry if it has
// a dot or a colon or is localhost; otherwise the registry is docker.io.
func splitHost(s string) (host, rest string) {
	first, rest, ok := strings.Cut(s, "/")
	if !ok || (first != "localhost" && !strings.ContainsAny(first, ".:")) {
		return "docker.io", s
	}
	if first == "index.docker.io" {
		first = "docker.io"
	}
	return first, rest
}

func checkName(host, repository string) error {
	switch {
	case !hostPattern().MatchString(host):
		return errors.New("what is before the first / is not a registry's HOST or HOST:PORT")
	case repository == "":
		return errors.New("the repository is empty")
	case len(repository) > 255:
		return errors.New("the repository is longer than 255 characters")
	case repositoryPattern().MatchString(repository):
		return nil
	case repositoryPattern().MatchString(strings.ToLower(repository)):
		return errors.New("the repository must be lower case")
	default:
		return errors.New("the repository may hold lower case letters and digits, with . _ __ or - between them, and /")
	}
}

// withoutPassword hides the text before an "@" unless a digest follows it, because people paste
// https://USER:PASSWORD@HOST/REPOSITORY, and errors end up in logs.
func withoutPassword(s string) string {
	at := strings.LastIndex(s, "@")
	if at < 0 || strings.HasPrefix(s[at:], "@sha") {
		return s
	}
	if strings.Contains(s[:at], ":") || strings.Contains(s[at:], "/") {
		return "***" + s[at:]
	}
	return s
}
