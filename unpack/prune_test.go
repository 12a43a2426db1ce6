package unpack_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/unpack"
)

const testPlatform = "linux/amd64"

// pulled unpacks an image of the layers and saves its record.
func pulled(tb testing.TB, s *unpack.Store, reference string, layers ...unpack.Layer) unpack.ImageRecord {
	tb.Helper()
	record := unpack.ImageRecord{Reference: reference, Platform: testPlatform, Manifest: digest.FromString(reference), Pulled: time.Unix(1e9, 0).UTC()}
	config := map[string]any{"os": "linux", "rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs(layers)}}
	var err error
	if record.Config, err = json.Marshal(config); err != nil {
		tb.Fatal(err)
	}
	for _, l := range layers {
		record.Layers = append(record.Layers, unpack.RecordLayer{DiffID: l.DiffID, Digest: l.Digest, Size: l.Size})
	}
	if _, err := s.Unpack(tb.Context(), layers, nil); err != nil {
		tb.Fatal(err)
	}
	if err := s.SaveImage(tb.Context(), record); err != nil {
		tb.Fatal(err)
	}
	return record
}

// references of the store's images.
func references(tb testing.TB, s *unpack.Store) []string {
	tb.Helper()
	images, err := s.Usage()
	if err != nil {
		tb.Fatal(err)
	}
	names := []string{}
	for _, i := range images {
		if i.Missing > 0 {
			tb.Errorf("%s misses %d layers", i.Reference, i.Missing)
		}
		names = append(names, i.Reference)
	}
	return names
}

func prune(tb testing.TB, s *unpack.Store, o unpack.PruneOptions) unpack.Freed {
	tb.Helper()
	freed, err := s.Prune(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	return freed
}

// lastUsed sets the time at which an image was last used.
func lastUsed(tb testing.TB, root, reference string, ago time.Duration) {
	tb.Helper()
	key := digest.FromString(reference + "\x00" + testPlatform).Encoded()
	at := time.Now().Add(-ago)
	if err := os.Chtimes(filepath.Join(root, "images", key+".json"), at, at); err != nil {
		tb.Fatal(err)
	}
}

// An image of two layers that needs a fix-up layer.
func fixedUp(tb testing.TB, name string) []unpack.Layer {
	return []unpack.Layer{
		layerOf(tb, dir("tmp", mode(0o1777)), file("base-of-"+name, content(100_000))),
		layerOf(tb, file("tmp/"+name, content(50_000))),
	}
}

func TestPruneRemovesWhatNoImageNeeds(t *testing.T) {
	s, root := openStore(t)
	keep, moved := fixedUp(t, "keep"), fixedUp(t, "moved")
	pulled(t, s, "keep", keep...)
	pulled(t, s, "tag", moved...)
	pulled(t, s, "tag", keep[0]) // the tag has moved
	pulled(t, s, "other", moved[0])
	for _, name := range []string{"images/killed.json.new", "tmp/" + moved[1].DiffID.Encoded() + "/fs/part"} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, root)
	freed := prune(t, s, unpack.PruneOptions{})
	if len(freed.Images) != 0 || freed.Layers != 2 || freed.Bytes < 50_000 {
		t.Errorf("freed %+v, want a layer and a fix-up layer", freed)
	}
	if got := s.Has(moved[1].DiffID); got || !s.Has(moved[0].DiffID) {
		t.Error("wrong layer removed")
	}
	if _, ok := s.Lowerdirs(diffIDs(keep)); !ok {
		t.Error("an image is not complete any more")
	}
	if diff := cmp.Diff([]string{"keep", "other", "tag"}, references(t, s)); diff != "" {
		t.Error(diff)
	}
	if left, err := os.ReadDir(filepath.Join(root, "images")); err != nil || len(left) != 3 {
		t.Errorf("images has %v, error %v", left, err)
	}
	assertClean(t, root, 3)
}

func TestRemoveImageKeepsWhatOthersNeed(t *testing.T) {
	s, root := openStore(t)
	base := layerOf(t, file("base", content(100_000)))
	pulled(t, s, "a", base, layerOf(t, file("a", "")))
	b := pulled(t, s, "b", base, layerOf(t, file("b", content(200_000))))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, root)
	freed, err := s.RemoveImage(t.Context(), "b", testPlatform)
	if err != nil || freed.Layers != 1 || freed.Bytes < 200_000 || freed.Bytes > 250_000 {
		t.Errorf("freed %+v, error %v", freed, err)
	}
	if diff := cmp.Diff(b.Reference, freed.Images[0].Reference); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a"}, references(t, s)); diff != "" {
		t.Error(diff)
	}
	for _, platform := range []string{testPlatform, ""} {
		if _, err := s.RemoveImage(t.Context(), "b", platform); !errors.Is(err, unpack.ErrNotFound) {
			t.Errorf("got error %v, want ErrNotFound", err)
		}
	}
	if freed, err = s.RemoveImage(t.Context(), "a", ""); err != nil || freed.Layers != 2 {
		t.Errorf("freed %+v, error %v", freed, err)
	}
	assertClean(t, root, 0)
}

func TestPruneChoosesImages(t *testing.T) {
	sizeOfOne := int64(0)
	for name, c := range map[string]struct {
		options func() unpack.PruneOptions
		want    []string
	}{
		"none":        {func() unpack.PruneOptions { return unpack.PruneOptions{} }, []string{"day", "hour", "week"}},
		"all":         {func() unpack.PruneOptions { return unpack.PruneOptions{All: true} }, []string{}},
		"old":         {func() unpack.PruneOptions { return unpack.PruneOptions{OlderThan: 12 * time.Hour} }, []string{"hour"}},
		"room":        {func() unpack.PruneOptions { return unpack.PruneOptions{KeepBytes: 10 * sizeOfOne} }, []string{"day", "hour", "week"}},
		"for two":     {func() unpack.PruneOptions { return unpack.PruneOptions{KeepBytes: 5 * sizeOfOne / 2} }, []string{"day", "hour"}},
		"for one":     {func() unpack.PruneOptions { return unpack.PruneOptions{KeepBytes: 3 * sizeOfOne / 2} }, []string{"hour"}},
		"for nothing": {func() unpack.PruneOptions { return unpack.PruneOptions{KeepBytes: 1} }, []string{}},
		"either": {func() unpack.PruneOptions {
			return unpack.PruneOptions{OlderThan: 100 * time.Hour, KeepBytes: 3 * sizeOfOne / 2}
		}, []string{"hour"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, root := openStore(t)
			for i, image := range []string{"day", "hour", "week"} {
				pulled(t, s, image, fixedUp(t, image)...)
				lastUsed(t, root, image, []time.Duration{24, 1, 168}[i]*time.Hour)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = reopen(t, root)
			usage, err := s.Usage()
			if err != nil {
				t.Fatal(err)
			}
			sizeOfOne = usage[0].Bytes
			freed := prune(t, s, c.options())
			if diff := cmp.Diff(c.want, references(t, s)); diff != "" {
				t.Error(diff)
			}
			if removed := 3 - len(c.want); len(freed.Images) != removed || freed.Layers != 3*removed || (freed.Bytes > 0) != (removed > 0) {
				t.Errorf("freed %+v", freed)
			}
			assertClean(t, root, 2*len(c.want))
		})
	}
}

func TestWhatIsInUseStays(t *testing.T) {
	user, root := openStore(t)
	other := reopen(t, root)
	layers := fixedUp(t, "used")
	pulled(t, other, "used", layers...)
	pulled(t, other, "idle", layers[0], layerOf(t, file("idle", "")))
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if err := user.Use("used", testPlatform); err != nil {
		t.Fatal(err)
	}
	lowerdirs, ok := user.Lowerdirs(diffIDs(layers))
	if !ok || len(lowerdirs) != 3 {
		t.Fatalf("lowerdirs %v %v", lowerdirs, ok)
	}
	if usage, err := other.Usage(); err != nil || !usage[1].InUse || usage[0].InUse {
		t.Errorf("usage %+v, error %v", usage, err)
	}
	if _, err := other.RemoveImage(t.Context(), "used", ""); !errors.Is(err, unpack.ErrInUse) {
		t.Errorf("got error %v, want ErrInUse", err)
	}
	freed := prune(t, other, unpack.PruneOptions{All: true})
	if len(freed.Images) != 1 || len(freed.InUse) != 1 || freed.Layers != 1 {
		t.Errorf("freed %+v", freed)
	}
	// Its tag moves: no record needs the layers, and still they are mounted.
	pulled(t, other, "used", layerOf(t, file("new", "")))
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if freed := prune(t, other, unpack.PruneOptions{}); freed.Layers != 0 {
		t.Errorf("freed %+v", freed)
	}
	for _, dir := range lowerdirs {
		if _, err := os.Stat(dir); err != nil {
			t.Error(err)
		}
	}
	if err := user.Close(); err != nil {
		t.Fatal(err)
	}
	if freed := prune(t, other, unpack.PruneOptions{}); freed.Layers != 3 {
		t.Errorf("freed %+v after the end of the use", freed)
	}
	assertClean(t, root, 1)
}

func TestPruneLeavesLayersInTheMakingAlone(t *testing.T) {
	s, root := openStore(t)
	data := tarOf(t, file("a", content(1<<20)))
	c := startChild(t, root, digest.FromBytes(data))
	c.says(t, "opened")
	prune(t, s, unpack.PruneOptions{All: true})
	if _, err := c.stdin.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := c.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	c.says(t, "done true")
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	if freed := prune(t, s, unpack.PruneOptions{}); freed.Layers != 1 {
		t.Errorf("freed %+v once the process is gone", freed)
	}
}

// What a prune had begun to remove when it ended early is gone for all that look, and swept by the next start.
func TestPruneThatEndsEarly(t *testing.T) {
	s, root := openStore(t)
	layers := fixedUp(t, "image")
	pulled(t, s, "image", layers...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Prune(ctx, unpack.PruneOptions{All: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(root, "tmp")); err != nil || len(left) != 3 {
		t.Fatalf("tmp has %v, error %v: the test did not end it in the middle", left, err)
	}
	if s.Has(layers[0].DiffID) || s.Has(layers[1].DiffID) {
		t.Error("a layer of which half may be gone is to be seen")
	}
	pulled(t, s, "image", layers...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"image"}, references(t, reopen(t, root))); diff != "" {
		t.Error(diff)
	}
	assertClean(t, root, 2)
}

// Pulls and runs in several processes, and somebody who removes all the time: what a store hands out is whole.
func TestPruneAgainstPulls(t *testing.T) {
	s, root := openStore(t)
	base := fixedUp(t, "base")
	stop := make(chan struct{})
	var pruner, pullers sync.WaitGroup
	pruner.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := s.Prune(t.Context(), unpack.PruneOptions{All: true}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range 4 {
		own := layerOf(t, file(fmt.Sprint("own", i), content(1000)))
		pullers.Go(func() {
			for range 40 {
				pullAndLook(t, root, fmt.Sprint("image", i%3), slices.Concat(base, []unpack.Layer{own}))
			}
		})
	}
	pullers.Wait()
	close(stop)
	pruner.Wait()
	references(t, s) // and nothing is missing
	prune(t, s, unpack.PruneOptions{All: true})
	assertClean(t, root, 0)
}

func pullAndLook(t *testing.T, root, name string, layers []unpack.Layer) {
	s, err := unpack.OpenStore(root)
	if err != nil {
		t.Error(err)
		return
	}
	defer s.Close()
	if err := s.Use(name, testPlatform); err != nil {
		t.Error(err)
	}
	dirs, ok := s.Lowerdirs(diffIDs(layers))
	if !ok {
		if dirs, err = s.Unpack(t.Context(), layers, nil); err != nil {
			t.Error(err)
			return
		}
	}
	record := unpack.ImageRecord{Reference: name, Platform: testPlatform, Config: json.RawMessage("{}")}
	for _, l := range layers {
		record.Layers = append(record.Layers, unpack.RecordLayer{DiffID: l.DiffID})
	}
	if err := s.SaveImage(t.Context(), record); err != nil {
		t.Error(err)
	}
	var st unix.Stat_t
	for i, path := range []string{"base-of-base", "tmp/base", "", "tmp"} {
		if err := unix.Lstat(filepath.Join(dirs[i], path), &st); err != nil {
			t.Errorf("lowerdir %d: %v", i, err)
		}
	}
}

func TestUsage(t *testing.T) {
	s, root := openStore(t)
	base := layerOf(t, file("base", content(400_000)), link("linked", "base"))
	own := layerOf(t, file("own", content(100_000)))
	pulled(t, s, "a", base, own)
	pulled(t, s, "b", base)
	pulled(t, s, "c", layerOf(t, file(strings.Repeat("0123456789/", 370)+"x", "")))
	lastUsed(t, root, "b", 48*time.Hour)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time from the sums that were kept
		usage, err := s.Usage()
		if err != nil || len(usage) != 3 {
			t.Fatalf("usage %+v, error %v", usage, err)
		}
		a, b := usage[0], usage[1]
		about := func(bytes, want int64) bool { return bytes >= want && bytes < want+64<<10 }
		if !about(a.Bytes, 500_000) || !about(a.Shared, 400_000) || !about(b.Bytes, 400_000) || b.Shared != b.Bytes {
			t.Errorf("a has %d bytes, %d shared; b %d, %d", a.Bytes, a.Shared, b.Bytes, b.Shared)
		}
		if ago := time.Since(b.Used); ago < 47*time.Hour || time.Since(a.Used) > time.Hour {
			t.Errorf("used: a %v, b %v", a.Used, b.Used)
		}
	}
	if err := s.Use("b", testPlatform); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(root, "layers/sha256", own.DiffID.Encoded())); err != nil {
		t.Fatal(err)
	}
	usage, err := s.Usage()
	if err != nil || usage[0].Missing != 1 || time.Since(usage[1].Used) > time.Hour {
		t.Errorf("usage %+v, error %v", usage, err)
	}
}

// A store that is looked at tells the same, and is not written to.
func TestUsageOfAStoreThatIsLookedAt(t *testing.T) {
	s, root := openStore(t)
	base := layerOf(t, file("base", content(400_000)))
	pulled(t, s, "a", base)
	pulled(t, s, "b", base)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Use("b", testPlatform); err != nil {
		t.Fatal(err)
	}
	looked, err := unpack.LookAt(root)
	if err != nil {
		t.Fatal(err)
	}
	got, err := looked.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if sizes, _ := filepath.Glob(filepath.Join(root, "layers/sha256/*/size")); len(sizes) != 0 {
		t.Errorf("written: %v", sizes)
	}
	want, err := s.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" || !got[1].InUse || got[0].Bytes < 400_000 {
		t.Errorf("-want +got:\n%s", diff)
	}
}
