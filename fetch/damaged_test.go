package fetch_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/opencontainers/go-digest"

	"github.com/stepexec/stepexec/container"
	"github.com/stepexec/stepexec/fetch"
	"github.com/stepexec/stepexec/fixtures/registry"
	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/unpack"
)

// pushed returns registries that all have the same image, and its name.
func pushed(t *testing.T, n int) (all []*registry.Registry, ref string) {
	t.Helper()
	image, err := random.Image(100_000, 2)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		r := registry.Start(t, registry.Options{})
		ref = r.Push(t, "x:1", image)
		all = append(all, r)
	}
	return all, ref
}

func resolve(t *testing.T, ref string, settings *pull.Registries) *pull.Image {
	t.Helper()
	img, err := pull.Resolve(t.Context(), parsed(t, ref), pull.Options{Keychain: authn.NewMultiKeychain(), Registries: settings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = img.Close() })
	return img
}

// damage changes a byte of a layer in the registry's storage.
func damage(t *testing.T, r *registry.Registry, layer digest.Digest, at func(size int) int) {
	t.Helper()
	hex := layer.Encoded()
	blob := filepath.Join(r.Root, "docker/registry/v2/blobs/sha256", hex[:2], hex, "data")
	content, err := os.ReadFile(blob)
	if err != nil {
		t.Fatal(err)
	}
	content[at(len(content))] ^= 1
	if err := os.WriteFile(blob, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func unpackLayers(t *testing.T, img *pull.Image) error {
	t.Helper()
	store, err := unpack.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var layers []unpack.Layer
	for _, l := range img.Layers {
		layers = append(layers, unpack.Layer{DiffID: l.DiffID, Digest: l.Digest, Size: l.Size, Open: l.Open})
	}
	_, err = store.Unpack(t.Context(), layers, nil)
	return err
}

func TestDamagedLayerIsRefused(t *testing.T) {
	for name, at := range map[string]func(int) int{
		"first byte":  func(int) int { return 0 },
		"in the file": func(size int) int { return size / 2 },
		"last byte":   func(size int) int { return size - 1 },
	} {
		t.Run(name, func(t *testing.T) {
			all, ref := pushed(t, 1)
			img := resolve(t, ref, nil)
			if err := unpackLayers(t, img); err != nil {
				t.Fatal(err)
			}
			damage(t, all[0], img.Layers[1].Digest, at)
			var wrong *unpack.DigestError
			if err := unpackLayers(t, img); !errors.As(err, &wrong) || wrong.Want != img.Layers[1].Digest {
				t.Errorf("a damaged layer was unpacked: %v", err)
			}
		})
	}
}

func TestLayerThatIsDamagedAtTheMirrorComesFromTheRegistryTheSecondTime(t *testing.T) {
	all, ref := pushed(t, 2) // the last one is the registry
	settings := &pull.Registries{Hosts: map[string]pull.Host{all[1].Host: {Mirrors: []string{all[0].Host}}}}
	img := resolve(t, ref, settings)
	damage(t, all[0], img.Layers[0].Digest, func(size int) int { return size / 2 })
	if err := unpackLayers(t, img); !errors.As(err, new(*unpack.DigestError)) {
		t.Fatalf("a damaged layer was unpacked: %v", err)
	}
	if err := unpackLayers(t, img); err != nil {
		t.Errorf("the second time: %v", err)
	}
	damage(t, all[1], img.Layers[0].Digest, func(size int) int { return size / 2 })
	if err := unpackLayers(t, img); !errors.As(err, new(*unpack.DigestError)) {
		t.Errorf("a layer that is damaged at the registry too was unpacked: %v", err)
	}
}

func TestEachLayerThatAMirrorDamagedComesFromTheNextSource(t *testing.T) {
	image, err := random.Image(100_000, 8)
	if err != nil {
		t.Fatal(err)
	}
	var hosts []string
	var all []*registry.Registry
	var ref string
	for range 3 {
		r := registry.Start(t, registry.Options{})
		ref = r.Push(t, "x:1", image)
		all, hosts = append(all, r), append(hosts, r.Host)
	}
	settings := &pull.Registries{Hosts: map[string]pull.Host{hosts[2]: {Mirrors: hosts[:2]}}}
	img := resolve(t, ref, nil)
	for i, l := range img.Layers {
		if i != 3 { // the first mirror has one good layer, the second damages every other one
			damage(t, all[0], l.Digest, func(size int) int { return size / 2 })
		}
		if i%2 == 0 {
			damage(t, all[1], l.Digest, func(size int) int { return size - 1 })
		}
	}
	for range 5 { // whatever the order in which layers come
		store, err := unpack.OpenStore(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		fetcher := &fetch.Fetcher{Store: store, Options: pull.Options{Keychain: authn.NewMultiKeychain(), Registries: settings}}
		fetched, err := fetcher.Fetch(t.Context(), ref, container.PullAlways)
		if err != nil {
			t.Fatal(err)
		}
		warnings := fetched.Warning
		for _, mirror := range hosts[:2] {
			if !strings.Contains(warnings, "mirror "+mirror+" of "+hosts[2]+": it sent other bytes than those of layer sha256:") {
				t.Errorf("the warnings are %q", warnings)
			}
		}
	}
	damage(t, all[2], img.Layers[0].Digest, func(size int) int { return size / 2 })
	store, err := unpack.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	fetcher := &fetch.Fetcher{Store: store, Options: pull.Options{Keychain: authn.NewMultiKeychain(), Registries: settings}}
	var wrong *unpack.DigestError
	if _, err := fetcher.Fetch(t.Context(), ref, container.PullAlways); !errors.As(err, &wrong) || wrong.Want != img.Layers[0].Digest {
		t.Errorf("a layer that is damaged everywhere: %v", err)
	}
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
