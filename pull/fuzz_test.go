package pull

import (
	"archive/tar"
	"bytes"
	"io"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func FuzzParseReference(f *testing.F) {
	hex := strings.Repeat("0f", 32)
	for _, s := range []string{
		"golang:1.22", "localhost:5000/a/b@sha256:" + hex, "[::1]:5000/a", "oci:dir:v1@sha256:" + hex,
		"oci-archive:a@b.tar", "docker-archive:a.tar:x:1", "rootfs:/srv/a:b", "dir:a:b@sha256:x", "https://u:p@h/x", "oci:@sha256:" + hex,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := ParseReference(s)
		if err != nil {
			return
		}
		again, err := ParseReference(ref.String())
		if err != nil || again != ref {
			t.Fatalf("%q is %#v, written %q, which is %#v (%v)", s, ref, ref, again, err)
		}
		if ref.IsLocal() == (ref.Path == "") || ref.IsLocal() == (ref.Name != "") {
			t.Fatalf("%q is %#v", s, ref)
		}
	})
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 5-9/10", int64(5), int64(10))
	f.Add("bytes 5-7/*", int64(5), int64(10))
	f.Add("bytes */10", int64(5), int64(10))
	f.Fuzz(func(t *testing.T, header string, offset, size int64) {
		if checkRange(header, offset, size, size) != nil {
			return
		}
		if !strings.HasPrefix(header, "bytes ") || offset < 0 || offset >= size {
			t.Fatalf("%q fits %d of %d", header, offset, size)
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add(ocispec.MediaTypeImageManifest, []byte(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:00","size":2},"layers":[{"urls":["x"]}]}`))
	f.Add("", []byte(`{"schemaVersion":2,"manifests":[{"platform":{"os":"linux","architecture":"arm","variant":"v7"}}]}`))
	f.Add("application/json; charset=utf-8", []byte(`{"schemaVersion":1,"fsLayers":[]}`))
	f.Add("", []byte(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:00"]}}`))
	f.Fuzz(func(t *testing.T, mediaType string, raw []byte) {
		doc, err := parseDocument(mediaType, raw)
		if err == nil && (doc.index == nil) == (doc.manifest == nil) {
			t.Fatalf("%q is both or neither of manifest and index", raw)
		}
		if doc.index != nil {
			for _, d := range doc.index.Manifests {
				if d.Platform != nil {
					checkNormalised(t, *d.Platform)
				}
			}
		}
		if config, err := parseConfig(raw, 1); err == nil {
			checkNormalised(t, config.Platform)
			if checkDigest(config.RootFS.DiffIDs[0]) != nil {
				t.Fatalf("diff ID %q", config.RootFS.DiffIDs[0])
			}
		}
		if images, err := parseSaved(raw); err == nil {
			_, _ = savedByTag(images, "1")
		}
	})
}

func checkNormalised(t *testing.T, p ocispec.Platform) {
	n, err := normalise(p)
	if err != nil {
		return
	}
	again, err := parsePlatform(format(n))
	if err != nil || format(again) != format(n) {
		t.Fatalf("%#v is %s, then %s (%v)", p, format(n), format(again), err)
	}
	if distance, ok := fit(n, n); !ok || distance != 0 {
		t.Fatalf("%s does not fit itself", format(n))
	}
}

func FuzzArchiveIndex(f *testing.F) {
	var seed bytes.Buffer
	w := tar.NewWriter(&seed)
	for _, h := range []*tar.Header{
		{Name: "./manifest.json", Size: 3, Typeflag: tar.TypeReg},
		{Name: "a/layer.tar", Linkname: "../b/layer.tar", Typeflag: tar.TypeSymlink},
		{Name: strings.Repeat("long/", 60), Linkname: "/x", Typeflag: tar.TypeLink},
		{Name: "pax", Size: 1, Typeflag: tar.TypeReg, PAXRecords: map[string]string{"A.b": "c"}},
	} {
		if err := w.WriteHeader(h); err != nil {
			f.Fatal(err)
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(seed.Bytes())
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		content := bytes.NewReader(raw)
		entries, err := indexArchive(content, content.Size())
		if err != nil {
			return
		}
		for name := range entries {
			e, err := lookUp(entries, name)
			if err != nil {
				continue
			}
			n, err := io.Copy(io.Discard, io.NewSectionReader(content, e.offset, e.size))
			if err != nil || n != e.size {
				t.Fatalf("%q: read %d of %d bytes: %v", name, n, e.size, err)
			}
		}
	})
}

func TestArmVariantOfMachine(t *testing.T) {
	for machine, want := range map[string]string{
		"armv5tejl": "v5", "armv6l": "v6", "armv7l": "v7", "armv8l": "v7", "aarch64": "v7",
	} {
		if got := armVariant(machine); got != want {
			t.Errorf("%s: got %s, want %s", machine, got, want)
		}
	}
}

func TestScrub(t *testing.T) {
	for in, want := range map[string]string{
		"GET https://u:p@h/x?sig=s: gone":   "GET https://***@h/x?*** gone",
		"header Authorization: Basic YTpi!": "header Authorization: Basic ***",
		"no token in response:\n{secret}":   "no token in response:",
		"escape \x1b[2J":                    "escape  [2J",
		"plain text":                        "plain text",
	} {
		if got := scrub(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
