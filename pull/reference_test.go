package pull_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/pull"
)

const hex64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestParseReference(t *testing.T) {
	for _, c := range []struct {
		in, out string
		want    pull.Reference
	}{
		{"golang:1.22", "docker.io/library/golang:1.22",
			pull.Reference{Scheme: pull.SchemeRegistry, Name: "docker.io/library/golang", Tag: "1.22"}},
		{"golang", "docker.io/library/golang:latest",
			pull.Reference{Scheme: pull.SchemeRegistry, Name: "docker.io/library/golang", Tag: "latest"}},
		{"index.docker.io/golang", "docker.io/library/golang:latest",
			pull.Reference{Scheme: pull.SchemeRegistry, Name: "docker.io/library/golang", Tag: "latest"}},
		{"user/app", "docker.io/user/app:latest",
			pull.Reference{Scheme: pull.SchemeRegistry, Name: "docker.io/user/app", Tag: "latest"}},
		{"localhost/app", "localhost/app:latest",
			pull.Reference{Scheme: pull.SchemeRegistry, Name: "localhost/app", Tag: "latest"}},
		{"host:5000/a/b:v1", "host:5000/a/b:v1",
			pull.Reference{Scheme: pull.SchemeRegistry, Name: "host:5000/a/b", Tag: "v1"}},
		{"[::1]:5000/a", "[::1]:5000/a:latest",
			pull.Reference{Scheme: pull.SchemeRegistry, Name: "[::1]:5000/a", Tag: "latest"}},
		{"golang@sha256:" + hex64, "docker.io/library/golang@sha256:" + hex64,
			pull.Reference{Scheme: pull.SchemeRegistry, Name: "docker.io/library/golang", Digest: "sha256:" + hex64}},
		{"golang:1.22@sha256:" + hex64, "docker.io/library/golang:1.22@sha256:" + hex64,
			pull.Reference{Scheme: pull.SchemeRegistry, Name: "docker.io/library/golang", Tag: "1.22", Digest: "sha256:" + hex64}},
		{"docker.io/library/oci:latest", "docker.io/library/oci:latest",
			pull.Reference{Scheme: pull.SchemeRegistry, Name: "docker.io/library/oci", Tag: "latest"}},
		{"oci:./images/", "oci:images", pull.Reference{Scheme: pull.SchemeOCI, Path: "images"}},
		{"oci:/srv/a@b:v1", "oci:/srv/a@b:v1", pull.Reference{Scheme: pull.SchemeOCI, Path: "/srv/a@b", Tag: "v1"}},
		{"oci:/srv/a:golang:1.22", "oci:/srv/a:golang:1.22",
			pull.Reference{Scheme: pull.SchemeOCI, Path: "/srv/a", Tag: "golang:1.22"}},
		{"oci:/srv/a@sha256:" + hex64, "oci:/srv/a@sha256:" + hex64,
			pull.Reference{Scheme: pull.SchemeOCI, Path: "/srv/a", Digest: "sha256:" + hex64}},
		{"oci-archive:a.tar", "oci-archive:a.tar", pull.Reference{Scheme: pull.SchemeOCIArchive, Path: "a.tar"}},
		{"docker-daemon:app:1", "docker-daemon:app:1", pull.Reference{Scheme: pull.SchemeDockerDaemon, Name: "app:1"}},
		{"docker-daemon:sha256:" + hex64, "docker-daemon:sha256:" + hex64,
			pull.Reference{Scheme: pull.SchemeDockerDaemon, Name: "sha256:" + hex64}},
		{"containers-storage:localhost:5000/a/app:1@sha256:" + hex64, "containers-storage:localhost:5000/a/app:1@sha256:" + hex64,
			pull.Reference{Scheme: pull.SchemeContainersStorage, Name: "localhost:5000/a/app:1@sha256:" + hex64}},
		{"docker-archive:a.tar:x:1", "docker-archive:a.tar:x:1",
			pull.Reference{Scheme: pull.SchemeDockerArchive, Path: "a.tar", Tag: "x:1"}},
		{"dir:images/a:1@x/", "dir:images/a:1@x", pull.Reference{Scheme: pull.SchemeDir, Path: "images/a:1@x"}},
		{"rootfs:/srv/root:1", "rootfs:/srv/root:1", pull.Reference{Scheme: pull.SchemeRootfs, Path: "/srv/root:1"}},
	} {
		t.Run(c.in, func(t *testing.T) {
			got, err := pull.ParseReference(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if got.String() != c.out {
				t.Errorf("String() = %q, want %q", got, c.out)
			}
			if local := c.want.Scheme != pull.SchemeRegistry; got.IsLocal() != local {
				t.Errorf("IsLocal() = %v", got.IsLocal())
			}
		})
	}
}

func TestParseReferenceRefuses(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "repository is empty"},
		{"Golang", "lower case"},
		{"golang:", "tag after the colon"},
		{"golang:a b", "tag after the colon"},
		{"golang:" + strings.Repeat("x", 129), "tag after the colon"},
		{"../../etc", "write oci:../../etc for an OCI image layout"},
		{"./folder", "rootfs:./folder"},
		{"/srv/image.tar", "docker-archive:/srv/image.tar"},
		{"~/image", "it looks like a path"},
		{"host.example/../../v2/x", "repository may hold"},
		{"host.example//x", "repository may hold"},
		{"host.example/" + strings.Repeat("x", 256), "longer than"},
		{"ho_st.example/x", "HOST:PORT"},
		{"https://host.example/x", "://"},
		{"docker://golang", "://"},
		{"golang@sha256:abc", "sha256 digest"},
		{"golang@sha512:" + hex64 + hex64, "only sha256"},
		{"golang\n", "control character"},
		{"oci:", "path after"},
		{"oci:dir:", "tag after the colon is empty"},
		{"oci:dir@sha256:../../etc/passwd", "sha256 digest"},
		{"docker-archive:f@sha256:" + hex64, "no manifest digests"},
		{"rootfs:", "path after"},
		{"docker-daemon:", "not the name of an image"},
		{"docker-daemon:../../containers/json", "not the name of an image"},
		{"docker-daemon:a/../../containers/b", "not the name of an image"},
		{"docker-daemon:a?b", "not the name of an image"},
		{"containers-storage:--root=/x", "not the name of an image"},
		{"dir:", "path after"},
	} {
		t.Run(c.in, func(t *testing.T) {
			ref, err := pull.ParseReference(c.in)
			if err == nil {
				t.Fatalf("parsed as %#v", ref)
			}
			wantText(t, err, c.want, "bad image reference")
		})
	}
}

func TestResolveRefusesRootfs(t *testing.T) {
	err := resolveError(t, "rootfs:/", pull.Options{})
	wantText(t, err, "pull rootfs:/:", "programming error", "Reference.Path")
}
