package pull_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/pull"
)

func TestArchivedListsTheImagesOfAnArchive(t *testing.T) {
	layout := func(entries ...string) []file {
		descriptor := `{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":2,"digest":"sha256:` + strings.Repeat("ab", 32) + `","annotations":{`
		index := `{"schemaVersion":2,"manifests":[` + descriptor + strings.Join(entries, "}},"+descriptor) + `}}]}`
		return []file{{name: "oci-layout", content: `{"imageLayoutVersion":"1.0.0"}`}, {name: "index.json", content: index}}
	}
	const ref, full = `"org.opencontainers.image.ref.name":`, `"io.containerd.image.name":`
	for _, c := range []struct {
		name  string
		files []file
		want  []string // REFERENCE = NAME NAME
	}{
		{"docker's", []file{{name: "manifest.json", content: `[{"RepoTags":["a:1","b:2"]},{"RepoTags":["c:3"]}]`}}, []string{
			"docker-archive:FILE:a:1 = a:1 b:2", "docker-archive:FILE:c:3 = c:3",
		}},
		{"docker's without a name", []file{{name: "manifest.json", content: `[{"RepoTags":null}]`}}, []string{"docker-archive:FILE = "}},
		{"docker's without an image", []file{{name: "manifest.json", content: `[]`}}, nil},
		{"both", append(layout(ref+`"x:1"`), file{name: "manifest.json", content: `[{"RepoTags":["a:1"]}]`}), []string{"docker-archive:FILE:a:1 = a:1"}},
		{"OCI's", layout(ref+`"docker.io/library/a:1"`, ref+`"b:2"`), []string{
			"oci-archive:FILE:docker.io/library/a:1 = docker.io/library/a:1", "oci-archive:FILE:b:2 = b:2",
		}},
		{"OCI's without a name", layout(""), []string{"oci-archive:FILE = "}},
		{"OCI's with a tag alone", layout(ref + `"latest"`), []string{"oci-archive:FILE:latest = "}},
		{"a tag and a full name", layout(ref + `"1",` + full + `"docker.io/library/a:1"`), []string{
			"oci-archive:FILE:docker.io/library/a:1 = docker.io/library/a:1",
		}},
		{"platforms of one image", layout(ref+`"a:1"`, ref+`"a:1"`), []string{"oci-archive:FILE:a:1 = a:1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := writeTar(t, c.files...)
			images, err := pull.Archived(path)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, i := range images {
				got = append(got, strings.Replace(i.Reference.String(), path, "FILE", 1)+" = "+strings.Join(i.Names, " "))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	_, err := pull.Archived(writeTar(t, file{name: "x", content: "y"}))
	wantText(t, err, "it has no file manifest.json", "not an OCI image layout")
}
