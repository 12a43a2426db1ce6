package pull_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/stepexec/stepexec/fixtures/registry"
	"github.com/stepexec/stepexec/pull"
)

// anonymous is a keychain without credentials, whatever the machine has configured.
var anonymous = authn.NewMultiKeychain()

func TestResolveFromRegistry(t *testing.T) {
	r := registry.Start(t, registry.Options{})
	image := platformImage(t, "linux/amd64", 3)
	ref := r.Push(t, "tools/go:1.22", image)

	got := mustResolve(t, ref, pull.Options{Platform: "linux/amd64", Keychain: anonymous})
	checkImage(t, got, image)
	if got.Name != ref || got.Platform != "linux/amd64" {
		t.Errorf("got name %q, platform %q", got.Name, got.Platform)
	}

	t.Run("by digest", func(t *testing.T) {
		byDigest := r.Host + "/tools/go@" + got.Digest.String()
		checkImage(t, mustResolve(t, byDigest, pull.Options{Platform: "linux/amd64", Keychain: anonymous}), image)
	})
	t.Run("by tag and digest", func(t *testing.T) {
		both := r.Host + "/tools/go:other@" + got.Digest.String()
		checkImage(t, mustResolve(t, both, pull.Options{Platform: "linux/amd64", Keychain: anonymous}), image)
	})
	t.Run("all layers open at once", func(t *testing.T) {
		many := platformImage(t, "linux/amd64", 20)
		img := mustResolve(t, r.Push(t, "many:1", many), pull.Options{Platform: "linux/amd64", Keychain: anonymous})
		// Should it block, it is not for longer than this.
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for _, l := range img.Layers {
			stream, err := l.Open(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer stream.Close()
		}
	})
}

func TestRegistryErrors(t *testing.T) {
	r := registry.Start(t, registry.Options{})
	r.Push(t, "tools/go:1.22", platformImage(t, "linux/amd64", 1))
	absent := "sha256:" + strings.Repeat("0", 64)
	for _, c := range []struct {
		name, ref, want string
		is              error
	}{
		{"tag", "tools/go:1.99", "pull HOST/tools/go:1.99: no such tag (manifest unknown)", pull.ErrNotFound},
		{"digest", "tools/go@" + absent, "pull HOST/tools/go@" + absent + ": no such manifest (manifest unknown)", pull.ErrNotFound},
		{"repository", "tools/rust", "pull HOST/tools/rust:latest: no such repository (name unknown)", pull.ErrNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := resolveError(t, r.Host+"/"+c.ref, pull.Options{Keychain: anonymous})
			if got := strings.ReplaceAll(err.Error(), r.Host, "HOST"); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if !errors.Is(err, c.is) {
				t.Errorf("%v does not wrap %v", err, c.is)
			}
		})
	}
}

func TestRegistryDown(t *testing.T) {
	r := registry.Start(t, registry.Options{})
	r.Stop()
	err := resolveError(t, r.Host+"/x", pull.Options{Keychain: anonymous})
	wantText(t, err, "cannot reach "+r.Host, "connection refused")
}

func TestLayerGoneFromRegistry(t *testing.T) {
	r := registry.Start(t, registry.Options{})
	img := mustResolve(t, r.Push(t, "x:1", platformImage(t, "linux/amd64", 1)), pull.Options{Platform: "linux/amd64", Keychain: anonymous})
	if err := os.RemoveAll(filepath.Join(r.Root, "docker/registry/v2/blobs")); err != nil {
		t.Fatal(err)
	}
	_, err := img.Layers[0].Open(t.Context())
	wantText(t, err, img.Name, "layer "+img.Layers[0].Digest.String(), "blob unknown")
	if !errors.Is(err, pull.ErrNotFound) {
		t.Errorf("%v is not ErrNotFound", err)
	}
}

func TestCancelledLayerStreamEnds(t *testing.T) {
	r := registry.Start(t, registry.Options{})
	big, err := random.Image(1<<20, 1)
	if err != nil {
		t.Fatal(err)
	}
	img := mustResolve(t, r.Push(t, "big:1", big), pull.Options{Keychain: anonymous})
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := img.Layers[0].Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if _, err := io.ReadFull(stream, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.Copy(io.Discard, stream); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}
