package pull_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/stepexec/stepexec/pull"
)

// saved writes a docker archive with these images.
func saved(t *testing.T, images map[string]v1.Image) (file string) {
	t.Helper()
	tagged := make(map[name.Reference]v1.Image)
	for tag, image := range images {
		ref, err := name.ParseReference(tag)
		if err != nil {
			t.Fatal(err)
		}
		tagged[ref] = image
	}
	file = filepath.Join(t.TempDir(), "saved.tar")
	if err := tarball.MultiRefWriteToFile(file, tagged); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestResolveFromDockerArchive(t *testing.T) {
	one, two := platformImage(t, "linux/amd64", 2), platformImage(t, "linux/amd64", 1)
	check := func(t *testing.T, ref string, want v1.Image) {
		t.Helper()
		img := mustResolve(t, ref, amd64)
		config, err := want.ConfigName()
		if err != nil {
			t.Fatal(err)
		}
		if img.Digest.String() != config.String() || img.Platform != "linux/amd64" || img.Name != ref {
			t.Errorf("got digest %s, platform %s, name %s", img.Digest, img.Platform, img.Name)
		}
		checkLayers(t, img, want)
	}
	check(t, "docker-archive:"+saved(t, map[string]v1.Image{"tools/go:1": one}), one)
	both := "docker-archive:" + saved(t, map[string]v1.Image{"tools/go:1": one, "tools/go:2": two})
	check(t, both+":2", two)
	check(t, both+":tools/go:1", one)
	check(t, both+":docker.io/tools/go:1", one)
	for suffix, want := range map[string]string{
		"":   `several such images: add a full name as the tag (there is "tools/go:1", "tools/go:2")`,
		":3": `no such tag "3" (there is "tools/go:1", "tools/go:2")`,
	} {
		wantText(t, resolveError(t, both+suffix, amd64), want)
	}
	err := resolveError(t, both+":2", pull.Options{Platform: "linux/arm64"})
	wantText(t, err, "no image for linux/arm64 (there is linux/amd64)")
	if !errors.Is(err, pull.ErrPlatform) {
		t.Errorf("%v is not ErrPlatform", err)
	}
}

// file is an entry of a hand-made archive: a regular file, or a link if link is set.
type file struct {
	name, content, link string
	typeflag            byte
}

func writeTar(t testing.TB, files ...file) (path string) {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Typeflag: f.typeflag, Linkname: f.link, Size: int64(len(f.content)), Mode: 0o600}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "archive.tar")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestOldDockerArchive is laid out as docker before 25 did it: a folder for each
// layer, and a link where an image has the same layer as another.
func TestOldDockerArchive(t *testing.T) {
	layer := "layer content, which is not looked at here"
	diffID := digestOf([]byte(layer))
	config := `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["` + strings.Repeat(diffID+`","`, 2) + diffID + `"]}}`
	archive := writeTar(t,
		file{name: "aaa/layer.tar", content: layer},
		file{name: "bbb/layer.tar", link: "../aaa/layer.tar", typeflag: tar.TypeSymlink},
		file{name: "ccc/layer.tar", link: "bbb/layer.tar", typeflag: tar.TypeLink},
		file{name: "config.json", content: config},
		file{name: "./manifest.json", content: `[{"Config":"config.json","RepoTags":null,"Layers":["aaa/layer.tar","bbb/layer.tar","ccc/layer.tar"]}]`},
	)
	img := mustResolve(t, "docker-archive:"+archive, amd64)
	for _, l := range img.Layers {
		if diff := cmp.Diff(layer, string(readLayer(t, l))); diff != "" {
			t.Error(diff)
		}
		if l.Digest.String() != diffID || l.MediaType != "application/vnd.oci.image.layer.v1.tar" {
			t.Errorf("plain layer: digest %s, media type %s", l.Digest, l.MediaType)
		}
	}
}

func TestHostileDockerArchives(t *testing.T) {
	config := func(diffIDs string) file {
		return file{name: "c.json", content: `{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":[` + diffIDs + `]}}`}
	}
	one := config(`"` + string(absent) + `"`)
	manifest := func(config, layers string) file {
		return file{name: "manifest.json", content: `[{"Config":"` + config + `","Layers":[` + layers + `]}]`}
	}
	for _, c := range []struct {
		name  string
		files []file
		want  string
	}{
		{"manifest.json is not JSON", []file{{name: "manifest.json", content: "x"}}, "manifest.json is not valid"},
		{"manifest.json of another form", []file{{name: "manifest.json", content: `["x"]`}}, "manifest.json is not valid"},
		{"no images", []file{{name: "manifest.json", content: "[]"}}, "the archive is empty"},
		{"config missing", []file{manifest("c.json", "")}, `config: "c.json" in the archive`},
		{"config outside", []file{manifest("../../etc/passwd", "")}, `"../../etc/passwd" in the archive`},
		{"config named by another digest", []file{
			{name: hex64 + ".json", content: "{}"}, manifest(hex64+".json", "")}, "the content was changed"},
		{"layer missing", []file{one, manifest("c.json", `"l.tar"`)}, `layer 1: "l.tar" in the archive`},
		{"layer outside", []file{one, manifest("c.json", `"/etc/passwd"`)}, `layer 1: "/etc/passwd" in the archive`},
		{"link that leads outside", []file{one, manifest("c.json", `"l.tar"`),
			{name: "l.tar", link: "../../../../etc/passwd", typeflag: tar.TypeSymlink}}, `etc/passwd" in the archive: file does not exist`},
		{"links in a circle", []file{one, manifest("c.json", `"a"`),
			{name: "a", link: "b", typeflag: tar.TypeSymlink}, {name: "b", link: "a", typeflag: tar.TypeSymlink}}, "too many links"},
		{"more layers than diff_ids", []file{config(""), manifest("c.json", `"c.json"`)}, "lists 0 layers (diff_ids) but the manifest 1"},
		{"layer compressed with xz", []file{one, manifest("c.json", `"l"`), {name: "l", content: "\xfd7zXZ\x00"}}, "compressed with xz"},
		{"too many layers", []file{one, manifest("c.json", strings.Repeat(`"l",`, 500)+`"l"`)}, "501 layers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantText(t, resolveError(t, "docker-archive:"+writeTar(t, c.files...), amd64), c.want)
		})
	}
}

func TestTruncatedArchive(t *testing.T) {
	archive := saved(t, map[string]v1.Image{"x:1": platformImage(t, "linux/amd64", 1)})
	info, err := os.Stat(archive)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{info.Size() / 3, info.Size() / 2, 600, 100} {
		if err := os.Truncate(archive, size); err != nil {
			t.Fatal(err)
		}
		resolveError(t, "docker-archive:"+archive, amd64)
	}
}

// TestLayerThatStartsLikeACompressedFile has a first file name that is the mark of
// bzip2: the tar's own mark goes first.
func TestLayerThatStartsLikeACompressedFile(t *testing.T) {
	layer, err := os.ReadFile(writeTar(t, file{name: "BZh91", content: "x"}))
	if err != nil {
		t.Fatal(err)
	}
	id := digestOf(layer)
	archive := writeTar(t, file{name: "BZh92"},
		file{name: "c.json", content: `{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":["` + id + `"]}}`},
		file{name: "l.tar", content: string(layer)},
		file{name: "manifest.json", content: `[{"Config":"c.json","Layers":["l.tar"]}]`})
	img := mustResolve(t, "docker-archive:"+archive, amd64)
	if img.Layers[0].Digest.String() != id {
		t.Errorf("got %q", img.Layers[0].Digest)
	}
}

// TestSparseArchive has GNU tar store a file with holes, whose content then is not in
// one piece.
func TestSparseArchive(t *testing.T) {
	dir := t.TempDir()
	layer := filepath.Join(dir, "layer.tar")
	if err := os.WriteFile(layer, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(layer, 1<<20); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"gnu", "posix"} {
		archive := filepath.Join(dir, format)
		out, err := exec.Command("tar", "-C", dir, "-S", "--format="+format, "-cf", archive, "layer.tar").CombinedOutput()
		if err != nil {
			t.Fatalf("tar: %v: %s", err, out)
		}
		wantText(t, resolveError(t, "docker-archive:"+archive, amd64), `"layer.tar" in the archive is a sparse file`)
	}
}
