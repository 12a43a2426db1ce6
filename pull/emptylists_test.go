package pull_test

import (
	"archive/tar"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/stepexec/stepexec/pull"
)

// Every list of an image may be missing, null or empty: that is an image without layers, or an
// error, and never a panic. A null in a list is an element like any other.
func TestEmptyLists(t *testing.T) {
	configs := map[string]string{
		"nothing":           `{}`,
		"null":              `null`,
		"rootfs null":       `{"rootfs":null,"history":null}`,
		"diff_ids missing":  `{"rootfs":{"type":"layers"}}`,
		"diff_ids null":     `{"rootfs":{"type":"layers","diff_ids":null},"history":null}`,
		"diff_ids empty":    `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]},"history":[]}`,
		"config null":       `{"config":null,"rootfs":{"diff_ids":[]}}`,
		"lists of config":   `{"config":{"Env":null,"Cmd":[],"Entrypoint":null,"Volumes":null,"Healthcheck":{"Test":[]}},"rootfs":{"diff_ids":[]}}`,
		"history of layers": `{"rootfs":{"diff_ids":[]},"history":[{},{"empty_layer":true},null]}`,
	}
	for name, config := range configs {
		for _, layers := range []string{``, `,"layers":null`, `,"layers":[]`} {
			manifest := `{"schemaVersion":2,"mediaType":"` + ociManifest + `","config":` + string(mustJSON(t, descriptor("application/vnd.oci.image.config.v1+json", []byte(config)))) + layers + `}`
			img, err := pull.Resolve(t.Context(), parsed(t, serve(t, manifest, config)), pull.Options{Platform: "linux/amd64", Keychain: anonymous})
			if err != nil {
				t.Errorf("%s %s: %v", name, layers, err)
				continue
			}
			if len(img.Layers) != 0 {
				t.Errorf("%s %s: %d layers", name, layers, len(img.Layers))
			}
			_ = img.Close()
		}
	}
	for _, manifest := range []string{
		`{}`, `null`, `[]`, `{"schemaVersion":2,"manifests":[]}`, `{"schemaVersion":2,"manifests":null}`, `{"schemaVersion":2,"manifests":[null]}`, `{"schemaVersion":2,"manifests":[{}]}`,
		`{"schemaVersion":2,"layers":[]}`, `{"schemaVersion":2,"layers":[null],"config":{}}`, `{"schemaVersion":2,"config":null,"layers":null}`,
	} {
		if img, err := pull.Resolve(t.Context(), parsed(t, serve(t, manifest, "")), pull.Options{Platform: "linux/amd64", Keychain: anonymous}); err == nil {
			t.Errorf("%s is an image: %v", manifest, img.Name)
		}
	}
}

// serve returns a reference to a manifest of a registry, whose blobs are all the same.
func serve(t *testing.T, manifest, blob string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch {
		case strings.Contains(q.URL.Path, "/manifests/"):
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(manifest))
		case strings.Contains(q.URL.Path, "/blobs/"):
			_, _ = w.Write([]byte(blob))
		}
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://") + "/x:1"
}

func TestEmptyListsOfArchives(t *testing.T) {
	config := `{"rootfs":{"diff_ids":[]}}`
	hex := digest.FromString(config).Encoded()
	for manifest, good := range map[string]bool{
		`[]`: false, `null`: false, `[null]`: false, `[{}]`: false, `{}`: false,
		`[{"Config":"` + hex + `.json","RepoTags":null,"Layers":null}]`: true,
		`[{"Config":"` + hex + `.json","RepoTags":[],"Layers":[]}]`:     true,
	} {
		file := filepath.Join(t.TempDir(), "a.tar")
		out, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		w := tar.NewWriter(out)
		for name, content := range map[string]string{"manifest.json": manifest, hex + ".json": config} {
			if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o600, Typeflag: tar.TypeReg}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte(content)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		_ = out.Close()
		_, err = pull.Resolve(t.Context(), parsed(t, "docker-archive:"+file), pull.Options{Platform: "linux/amd64"})
		if (err == nil) != good {
			t.Errorf("%s: %v", manifest, err)
		}
		if _, err := pull.Archived(file); err != nil && good {
			t.Errorf("%s: %v", manifest, err)
		}
	}
	for _, index := range []string{`{"schemaVersion":2}`, `{"schemaVersion":2,"manifests":null}`, `{"schemaVersion":2,"manifests":[]}`, `{"schemaVersion":2,"manifests":[null]}`, `null`} {
		dir := t.TempDir()
		for name, content := range map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "index.json": index} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if !json.Valid([]byte(index)) {
			t.Fatal(index)
		}
		if _, err := pull.Resolve(t.Context(), parsed(t, "oci:"+dir), pull.Options{Platform: "linux/amd64"}); err == nil {
			t.Errorf("%s is an image", index)
		}
	}
}
