package pull_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stepexec/stepexec/pull"
)

// hostile serves what a real registry would refuse to store: the document root for
// every tag, and the documents by their digests, or under the digest they are
// mapped from.
func hostile(t *testing.T, mediaType string, root []byte, documents map[digest.Digest][]byte) (ref string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		document, known := documents[digest.Digest(name)]
		switch {
		case r.URL.Path == "/v2/":
		case known:
			w.Header().Set("Content-Type", http.DetectContentType(nil)) // says nothing
			_, _ = w.Write(document)
		case strings.Contains(r.URL.Path, "/manifests/"):
			w.Header().Set("Content-Type", mediaType)
			_, _ = w.Write(root)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://") + "/x:1"
}

func documents(raw ...[]byte) map[digest.Digest][]byte {
	all := make(map[digest.Digest][]byte)
	for _, document := range raw {
		all[digest.FromBytes(document)] = document
	}
	return all
}

func configOf(t *testing.T, diffIDs ...digest.Digest) []byte {
	t.Helper()
	return mustJSON(t, ocispec.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: diffIDs},
	})
}

const absent = digest.Digest("sha256:" + hex64)

func layerOf(mediaType string, urls ...string) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: absent, Size: 1, URLs: urls}
}

func TestHostileManifests(t *testing.T) {
	config := configOf(t, absent)
	good := manifestOf(t, config, []ocispec.Descriptor{layerOf(ocispec.MediaTypeImageLayerGzip)})
	both := edit(t, good, "manifests", []any{})
	artifact := edit(t, good, "config", map[string]any{"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": absent, "size": 2})
	withLayer := func(d ocispec.Descriptor) []byte { return manifestOf(t, config, []ocispec.Descriptor{d}) }
	badDigest := layerOf(ocispec.MediaTypeImageLayer)
	badDigest.Digest = "sha256:../../../etc/passwd"
	sha512 := layerOf(ocispec.MediaTypeImageLayer)
	sha512.Digest = digest.Digest("sha512:" + hex64 + hex64)
	negative := layerOf(ocispec.MediaTypeImageLayer)
	negative.Size = -1
	for _, c := range []struct {
		name, mediaType string
		root            []byte
		want            string // "" is resolved
	}{
		{"good", ociManifest, good, ""},
		{"good, without a label", "", good, ""},
		{"good, labelled as any JSON", "application/json; charset=utf-8", good, ""},
		{"not JSON", ociManifest, []byte("<html>"), "not valid JSON"},
		{"empty", ociManifest, nil, "not valid JSON"},
		{"trailing data", ociManifest, append(good, "{}"...), "not valid JSON"},
		{"manifests and layers", ociManifest, both, "CVE-2021-41190"},
		{"manifests and layers, without a label", "", edit(t, both, "mediaType", nil), "CVE-2021-41190"},
		{"manifests and layers in other letters", ociManifest, edit(t, good, "MANIFESTS", []any{}), "CVE-2021-41190"},
		{"index labelled as a manifest", ociManifest, indexOf(t), "ambiguous"},
		{"manifest labelled as an index", ociIndex, edit(t, good, "mediaType", nil), "does not fit its media type"},
		{"schema 1", "application/vnd.docker.distribution.manifest.v1+prettyjws", []byte(`{"schemaVersion":1,"fsLayers":[]}`), "schema 1"},
		{"schema 1 without a label", "", []byte(`{"schemaVersion":1,"fsLayers":[]}`), "schema 1"},
		{"schema 3", ociManifest, edit(t, good, "schemaVersion", 3), "schema version 3"},
		{"artifact", ociManifest, artifact, `artifact ("application/vnd.cncf.helm.config.v1+json")`},
		{"unknown media type", "application/vnd.example", edit(t, good, "mediaType", nil), `"application/vnd.example" is neither`},
		{"nothing known", "", []byte(`{"schemaVersion":2}`), "neither an image manifest nor an index"},
		{"larger than 8 MiB", ociManifest, append([]byte(strings.Repeat(" ", 8<<20)), good...), "larger than 8 MiB"},
		{"exactly 8 MiB", ociManifest, append([]byte(strings.Repeat(" ", 8<<20-len(good))), good...), ""},
		{"foreign layer", ociManifest, withLayer(layerOf(ocispec.MediaTypeImageLayerGzip, "http://169.254.169.254/")), ""},
		{"foreign layer by its type", ociManifest, withLayer(layerOf("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")), ""},
		{"unknown layer", ociManifest, withLayer(layerOf("application/vnd.oci.image.layer.v1.tar+gzip+encrypted")), "layer 1: unknown media type"},
		{"layer digest that leads outside", ociManifest, withLayer(badDigest), "layer 1: \"sha256:../../../etc/passwd\" is not a sha256 digest"},
		{"layer with sha512", ociManifest, withLayer(sha512), "not a sha256 digest"},
		{"negative size", ociManifest, withLayer(negative), "negative size"},
		{"too many layers", ociManifest, manifestOf(t, config, make([]ocispec.Descriptor, 501)), "501 layers"},
		{"fewer layers than diff_ids", ociManifest, manifestOf(t, config, nil), "the config lists 1 layers (diff_ids) but the manifest 0"},
		{"empty index", ociIndex, indexOf(t), "no image for linux/amd64 (there is none)"},
		{"index of artifacts", ociIndex, indexOf(t, ocispec.Descriptor{MediaType: "application/vnd.example", Digest: absent}), `(there is "application/vnd.example")`},
	} {
		t.Run(c.name, func(t *testing.T) {
			ref := hostile(t, c.mediaType, c.root, documents(config))
			if c.want == "" {
				mustResolve(t, ref, pull.Options{Platform: "linux/amd64", Keychain: anonymous})
				return
			}
			err := resolveError(t, ref, pull.Options{Platform: "linux/amd64", Keychain: anonymous})
			wantText(t, err, "pull "+ref+": ", c.want)
		})
	}
}

// edit returns the JSON object with one more, or without one, member.
func edit(t *testing.T, raw []byte, key string, value any) []byte {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal(raw, &members); err != nil {
		t.Fatal(err)
	}
	if members[key] = value; value == nil {
		delete(members, key)
	}
	return mustJSON(t, members)
}

func TestHostileConfigs(t *testing.T) {
	for _, c := range []struct{ name, config, want string }{
		{"not JSON", "nonsense", "the config is not valid"},
		{"diff_ids missing", `{"os":"linux","architecture":"amd64"}`, "lists 0 layers"},
		{"diff_id is no digest", `{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":["sha256:../x"]}}`, "not a sha256 digest"},
		{"other root file system", `{"os":"linux","architecture":"amd64","rootfs":{"type":"vhd","diff_ids":["` + string(absent) + `"]}}`, `type "vhd"`},
		{"control characters in the platform", `{"os":"linux\u001b[2J","architecture":"amd64","rootfs":{"diff_ids":["` + string(absent) + `"]}}`, "bad platform"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := []byte(c.config)
			manifest := manifestOf(t, config, []ocispec.Descriptor{layerOf(ocispec.MediaTypeImageLayer)})
			err := resolveError(t, hostile(t, ociManifest, manifest, documents(config)), pull.Options{Platform: "linux/amd64", Keychain: anonymous})
			wantText(t, err, c.want)
		})
	}
}

func TestChangedDocuments(t *testing.T) {
	config := configOf(t)
	manifest := manifestOf(t, config, nil)
	asked := descriptor(ociManifest, manifest)
	wrongSize := asked
	wrongSize.Size--
	huge := asked
	huge.Size = 9 << 20
	o := pull.Options{Platform: "linux/amd64", Keychain: anonymous}
	other := []byte(strings.Replace(string(manifest), "2", "3", 1))
	for _, c := range []struct {
		name      string
		root      []byte
		documents map[digest.Digest][]byte
		want      string
	}{
		{"manifest of an index", indexOf(t, asked), map[digest.Digest][]byte{asked.Digest: other}, "does not match"},
		{"size of a manifest", indexOf(t, wrongSize), documents(manifest, config), "not " + fmt.Sprint(wrongSize.Size) + " bytes long"},
		{"size of a manifest, huge", indexOf(t, huge), documents(manifest, config), "larger than 8 MiB"},
		{"config", manifest, map[digest.Digest][]byte{digest.FromBytes(config): []byte(`{}`)}, "config"},
		{"config missing", manifest, nil, "404"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantText(t, resolveError(t, hostile(t, "", c.root, c.documents), o), c.want)
		})
	}
	t.Run("manifest asked for by digest", func(t *testing.T) {
		ref := strings.TrimSuffix(hostile(t, ociManifest, manifest, documents(config)), ":1")
		wantText(t, resolveError(t, ref+"@"+string(absent), o), "does not match")
	})
	t.Run("index whose child is itself", func(t *testing.T) {
		loop := indexOf(t, ocispec.Descriptor{MediaType: ociIndex, Digest: absent, Size: 10})
		wantText(t, resolveError(t, hostile(t, ociIndex, loop, map[digest.Digest][]byte{absent: loop}), o), "does not match")
	})
}

func TestIndexOfVeryManyManifests(t *testing.T) {
	config := configOf(t)
	var served [][]byte
	var children []ocispec.Descriptor
	for i := range 100 {
		manifest := edit(t, manifestOf(t, config, nil), "annotations", map[string]string{"n": fmt.Sprint(i)})
		served = append(served, manifest)
		children = append(children, descriptor(ociManifest, manifest))
	}
	ref := hostile(t, ociIndex, indexOf(t, children...), documents(append(served, config)...))
	err := resolveError(t, ref, pull.Options{Platform: "linux/amd64", Keychain: anonymous})
	wantText(t, err, "more than 64 manifests")
}

func TestSignaturesBesideTheImageAreSkipped(t *testing.T) {
	config := configOf(t)
	image := manifestOf(t, config, nil)
	signature := edit(t, image, "config", map[string]any{"mediaType": ocispec.MediaTypeEmptyJSON, "digest": absent, "size": 2})
	index := indexOf(t, descriptor(ociManifest, signature), descriptor(ociManifest, image))
	mustResolve(t, hostile(t, ociIndex, index, documents(config, image, signature)), pull.Options{Platform: "linux/amd64", Keychain: anonymous})
}

// TestEndlessManifest is about memory: no more than 8 MiB of it may be read.
func TestEndlessManifest(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.URL.Path != "/v2/" {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	err := resolveError(t, strings.TrimPrefix(server.URL, "http://")+"/x:1", pull.Options{Keychain: anonymous})
	wantText(t, err, "it is larger than 8 MiB: refused")
}
