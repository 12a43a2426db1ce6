package pull_test

import (
	"errors"
	"runtime"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/stepexec/stepexec/fixtures/registry"
	"github.com/stepexec/stepexec/pull"
)

// platformIndex returns an index with an image for each platform, in this order, and
// an attestation as BuildKit adds it.
func platformIndex(t *testing.T, platforms ...string) v1.ImageIndex {
	t.Helper()
	var index v1.ImageIndex = empty.Index
	for _, platform := range platforms {
		p, err := v1.ParsePlatform(platform)
		if err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: platformImage(t, platform, 1), Descriptor: v1.Descriptor{Platform: p},
		})
	}
	return mutate.AppendManifests(index, mutate.IndexAddendum{
		Add:        platformImage(t, "unknown/unknown", 1),
		Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}},
	})
}

func TestPlatformChoice(t *testing.T) {
	r := registry.Start(t, registry.Options{})
	all := r.Push(t, "all:1", platformIndex(t, "linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm64", "linux/amd64", "linux/amd64/v3"))
	few := r.Push(t, "few:1", platformIndex(t, "linux/amd64", "linux/arm/v6"))
	for _, c := range []struct{ ref, platform, want string }{
		{all, "linux/amd64", "linux/amd64"},
		{all, "linux/x86_64", "linux/amd64"},
		{all, "linux/amd64/v2", "linux/amd64"},
		{all, "linux/amd64/v4", "linux/amd64/v3"},
		{all, "linux/arm64", "linux/arm64"},
		{all, "linux/aarch64", "linux/arm64"},
		{all, "linux/arm64/v8", "linux/arm64"},
		{all, "linux/arm64/v9", "linux/arm64"},
		{all, "linux/arm", "linux/arm/v7"},
		{all, "linux/arm/v8", "linux/arm/v7"},
		{all, "linux/armhf", "linux/arm/v7"},
		{all, "linux/arm/v6", "linux/arm/v6"},
		{all, "linux/arm/5", "linux/arm/v5"},
		{few, "linux/arm/v7", "linux/arm/v6"},
		{few, "LINUX/AMD64", "linux/amd64"},
	} {
		t.Run(c.ref+" "+c.platform, func(t *testing.T) {
			img := mustResolve(t, c.ref, pull.Options{Platform: c.platform, Keychain: anonymous})
			if img.Platform != c.want {
				t.Errorf("got %s, want %s", img.Platform, c.want)
			}
			readLayer(t, img.Layers[0])
		})
	}
	for platform, want := range map[string]string{
		"linux/arm64":   "pull " + few + ": no image for linux/arm64 (there is linux/amd64, linux/arm/v6)",
		"linux/arm/v5":  "pull " + few + ": no image for linux/arm/v5 (there is linux/amd64, linux/arm/v6)",
		"windows/amd64": "pull " + few + ": no image for windows/amd64 (there is linux/amd64, linux/arm/v6)",
	} {
		t.Run("no "+platform, func(t *testing.T) {
			err := resolveError(t, few, pull.Options{Platform: platform, Keychain: anonymous})
			if err.Error() != want || !errors.Is(err, pull.ErrPlatform) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

func TestSingleManifestForAnotherPlatform(t *testing.T) {
	r := registry.Start(t, registry.Options{})
	ref := r.Push(t, "x:1", platformImage(t, "linux/s390x", 1))
	err := resolveError(t, ref, pull.Options{Platform: "linux/arm64", Keychain: anonymous})
	want := "pull " + ref + ": no image for linux/arm64 (there is linux/s390x)"
	if err.Error() != want || !errors.Is(err, pull.ErrPlatform) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestIndexThatLiesAboutThePlatform(t *testing.T) {
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add:        platformImage(t, "linux/s390x", 1),
		Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}},
	})
	ref := registry.Start(t, registry.Options{}).Push(t, "x:1", index)
	err := resolveError(t, ref, pull.Options{Platform: "linux/arm64", Keychain: anonymous})
	wantText(t, err, "no image for linux/arm64 (there is linux/s390x)")
}

func TestIndexWithoutPlatformsIsReadFromTheConfigs(t *testing.T) {
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: platformImage(t, "linux/arm64", 1)},
		mutate.IndexAddendum{Add: platformImage(t, "linux/amd64", 1)})
	ref := registry.Start(t, registry.Options{}).Push(t, "x:1", index)
	img := mustResolve(t, ref, pull.Options{Platform: "linux/amd64", Keychain: anonymous})
	if img.Config.Architecture != "amd64" || img.Platform != "linux/amd64" {
		t.Errorf("got %s for %s", img.Config.Architecture, img.Platform)
	}
}

func TestNestedIndex(t *testing.T) {
	nest := func(inner v1.ImageIndex) v1.ImageIndex {
		return mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: inner})
	}
	r := registry.Start(t, registry.Options{})
	two := nest(platformIndex(t, "linux/arm64"))
	img := mustResolve(t, r.Push(t, "two:1", two), pull.Options{Platform: "linux/arm64", Keychain: anonymous})
	if img.Platform != "linux/arm64" {
		t.Errorf("got %s", img.Platform)
	}
	three := nest(two)
	mustResolve(t, r.Push(t, "three:1", three), pull.Options{Platform: "linux/arm64", Keychain: anonymous})
	err := resolveError(t, r.Push(t, "four:1", nest(three)), pull.Options{Platform: "linux/arm64", Keychain: anonymous})
	wantText(t, err, "more than 3 indexes inside each other")
}

func TestDefaultPlatformIsTheHost(t *testing.T) {
	host := "linux/" + runtime.GOARCH
	ref := registry.Start(t, registry.Options{}).Push(t, "x:1", platformIndex(t, "linux/riscv64", "linux/s390x", host))
	img := mustResolve(t, ref, pull.Options{Keychain: anonymous})
	if img.Config.Architecture != runtime.GOARCH {
		t.Errorf("got %s", img.Platform)
	}
}

func TestBadPlatform(t *testing.T) {
	for _, platform := range []string{"linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/a b", "linux/arm/v7\n", "linux//v7"} {
		err := resolveError(t, "x", pull.Options{Platform: platform, Keychain: anonymous})
		wantText(t, err, "bad platform")
	}
}
