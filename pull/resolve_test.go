package pull_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"go.uber.org/goleak"

	"github.com/stepexec/stepexec/pull"
)

// TestMain checks that nothing of a pull outlives it: connections, streams, pings.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// checkImage compares an image that was resolved with the one that was pushed.
func checkImage(t *testing.T, got *pull.Image, want v1.Image) {
	t.Helper()
	rawManifest, err := want.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	rawConfig, err := want.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest.String() != digestOf(rawManifest) || !bytes.Equal(got.RawManifest, rawManifest) {
		t.Errorf("manifest %s: %s", got.Digest, got.RawManifest)
	}
	if !bytes.Equal(got.RawConfig, rawConfig) {
		t.Errorf("config: %s", got.RawConfig)
	}
	checkLayers(t, got, want)
}

func checkLayers(t *testing.T, got *pull.Image, want v1.Image) {
	t.Helper()
	layers, err := want.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Layers) != len(layers) {
		t.Fatalf("got %d layers, want %d", len(got.Layers), len(layers))
	}
	for i, layer := range layers {
		diffID, err := layer.DiffID()
		if err != nil {
			t.Fatal(err)
		}
		if got.Layers[i].DiffID.String() != diffID.String() {
			t.Errorf("layer %d: diff ID %s, want %s", i, got.Layers[i].DiffID, diffID)
		}
		content := readLayer(t, got.Layers[i])
		if int64(len(content)) != got.Layers[i].Size {
			t.Errorf("layer %d: %d bytes, Size is %d", i, len(content), got.Layers[i].Size)
		}
		stream, err := layer.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		stored, err := io.ReadAll(stream)
		if err != nil {
			t.Fatal(err)
		}
		if d := got.Layers[i].Digest; d != "" && d.String() != digestOf(content) {
			t.Errorf("layer %d: content %s, Digest is %s", i, digestOf(content), d)
		}
		if diff := cmp.Diff(digestOf(stored), digestOf(content)); diff != "" {
			t.Errorf("layer %d: %s", i, diff)
		}
	}
}

func readLayer(t *testing.T, l pull.Layer) []byte {
	t.Helper()
	stream, err := l.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	content, err := io.ReadAll(stream)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func mustResolve(t *testing.T, ref string, o pull.Options) *pull.Image {
	t.Helper()
	img, err := pull.Resolve(t.Context(), parsed(t, ref), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := img.Close(); err != nil {
			t.Error(err)
		}
	})
	return img
}

func resolveError(t *testing.T, ref string, o pull.Options) error {
	t.Helper()
	img, err := pull.Resolve(t.Context(), parsed(t, ref), o)
	if err == nil {
		t.Fatalf("%s was resolved to %s", ref, errors.Join(errors.New(img.Name), img.Close()))
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the error has several lines: %q", err)
	}
	return err
}

func wantText(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v\ndoes not say %q", err, part)
		}
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// parsed parses an image reference.
func parsed(t *testing.T, s string) pull.Reference {
	t.Helper()
	ref, err := pull.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}
