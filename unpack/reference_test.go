package unpack_test

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"

	"github.com/stepexec/stepexec/fixtures"
	"github.com/stepexec/stepexec/unpack"
)

// A sample is an image that stepexec and other unpackers, the references, unpack.
type sample struct {
	name    string
	layers  [][]entry // lowest first
	refused string    // part of the message with which stepexec refuses it; a reference makes some tree or refuses it too

	differences map[string]difference // by the reference's name
}

// A difference is all in which a reference does not make the tree that stepexec makes, and why stepexec
// does not follow it. The zero value is none. What it says has to be so: a reference that comes to agree with
// stepexec fails the test, and the difference is deleted.
type difference struct {
	why   string
	lines []string // as of function differences
	fails string   // part of the message with which the reference refuses the image
}

// The names of the references.
const (
	umoci      = "umoci"
	containerd = "containerd"
)

// A reference is another unpacker.
type reference struct {
	name   string
	unpack func(t *testing.T, tag string) (root string, err error) // unpacks an image of the layout
	rules  []*rule
}

// A rule is a difference that a reference has with many images: a field of some places that is not compared.
// Like a difference, it has to be met.
type rule struct {
	why   string
	field string
	holds func(path string, theirs, ours place) bool
	met   bool
}

// The mounted layers of an image are what other unpackers make of it, but for the differences that the samples
// and the references name.
func TestEqualsOtherUnpackers(t *testing.T) {
	store, _ := openStore(t)
	samples := slices.Concat(handmadeSamples(), randomSamples(), []sample{richSample(t, store.Format)})
	layout := writeSamples(t, samples)
	references := []reference{unpackWithUmoci(layout), unpackWithContainerd(t, layout)}
	compared := 0
	for _, s := range samples {
		t.Run(s.name, func(t *testing.T) {
			ours := unpackSample(t, store, layout, s)
			for _, ref := range references {
				t.Run(ref.name, func(t *testing.T) { ref.compare(t, s, ours) })
			}
			compared++
		})
	}
	if compared == len(samples) { // not with -run for some of them
		assertRulesMet(t, references)
	}
}

// unpackSample returns what stepexec makes of the sample in the layout: nil when it refuses it, as it should.
func unpackSample(t *testing.T, store *unpack.Store, layout string, s sample) map[string]place {
	t.Helper()
	img, err := fixtures.FromLayout(layout, tagOf(s.name))
	if err != nil {
		t.Fatal(err)
	}
	lowerdirs, err := store.Unpack(t.Context(), layersOf(t, img), nil)
	if s.refused != "" {
		if err == nil || !strings.Contains(err.Error(), s.refused) {
			t.Fatalf("got error %v, want one with %q", err, s.refused)
		}
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return places(t, overlay(t, lowerdirs), time.Now())
}

func assertRulesMet(t *testing.T, references []reference) {
	t.Helper()
	for _, ref := range references {
		for _, r := range ref.rules {
			if !r.met {
				t.Errorf("%s: no sample differs in its %s by this rule, delete it: %s", ref.name, r.field, r.why)
			}
		}
	}
}

// compare compares what the reference makes of the sample with what stepexec made of it.
func (ref reference) compare(t *testing.T, s sample, ours map[string]place) {
	want := s.differences[ref.name]
	start := time.Now()
	root, err := ref.unpack(t, tagOf(s.name))
	if want.fails != "" {
		if err == nil || !strings.Contains(err.Error(), want.fails) {
			t.Errorf("got error %v, want one with %q, because: %s", err, want.fails, want.why)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if s.refused != "" {
		return
	}
	got := ref.differences(places(t, root, start), ours)
	if diff := cmp.Diff(want.lines, got); diff != "" {
		t.Errorf("differences from stepexec (-expected +found):\n%s\nexpected because: %s", diff, want.why)
	}
}

// tagOf makes a tag of the name of a sample.
func tagOf(name string) string { return digest.FromString(name).Encoded()[:16] }

// writeSamples writes the samples into a new OCI layout.
func writeSamples(t *testing.T, samples []sample) (layout string) {
	t.Helper()
	needRoot(t)
	layout = filepath.Join(plainDir(t), "layout")
	for _, s := range samples {
		var img fixtures.Image
		for _, entries := range s.layers {
			data := tarOf(t, entries...)
			img.Layers = append(img.Layers, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
		}
		if err := img.WriteLayout(layout, tagOf(s.name)); err != nil {
			t.Fatal(err)
		}
	}
	return layout
}

// layersOf are the layers of an image as Unpack takes them.
func layersOf(t *testing.T, img v1.Image) []unpack.Layer {
	t.Helper()
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	var layers []unpack.Layer
	for i, d := range manifest.Layers {
		blob, err := img.LayerByDigest(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		stream, err := blob.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(stream)
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, unpack.Layer{
			DiffID: digest.Digest(config.RootFS.DiffIDs[i].String()),
			Digest: digest.Digest(d.Digest.String()),
			Size:   d.Size,
			Open:   opener(data),
		})
	}
	return layers
}

// differences lists what theirs has other than ours, a line for each path that only one of them has and for
// each field that differs where no rule holds: "PATH FIELD THEIRS, not OURS". It notes the rules that are met.
func (ref reference) differences(theirs, ours map[string]place) []string {
	var lines []string
	for path, their := range theirs {
		our, ok := ours[path]
		if !ok {
			lines = append(lines, fmt.Sprintf("%q is a %s, not absent", path, their.Type))
			continue
		}
		for field, value := range their.fields() {
			if other := our.fields()[field]; value != other && !ref.explains(path, field, their, our) {
				lines = append(lines, fmt.Sprintf("%q %s %s, not %s", path, field, value, other))
			}
		}
	}
	for path, our := range ours {
		if _, ok := theirs[path]; !ok {
			lines = append(lines, fmt.Sprintf("%q is absent, not a %s", path, our.Type))
		}
	}
	slices.Sort(lines)
	return lines
}

func (ref reference) explains(path, field string, theirs, ours place) bool {
	for _, r := range ref.rules {
		if r.field == field && r.holds(path, theirs, ours) {
			r.met = true
			return true
		}
	}
	return false
}
