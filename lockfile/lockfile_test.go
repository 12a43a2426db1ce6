package lockfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/stepexec/stepexec/lockfile"
)

var (
	one = digest.FromString("one")
	two = digest.FromString("two")
)

func sample() lockfile.Images {
	images := lockfile.Images{}
	images.Set("docker.io/library/golang:1.26", "linux/arm64", two)
	images.Set("docker.io/library/golang:1.26", "linux/amd64", one)
	images.Set("127.0.0.1:5000/app:1", "linux/arm/v7", one)
	return images
}

const sampleText = `{
  "version": 1,
  "images": {
    "127.0.0.1:5000/app:1": {
      "linux/arm/v7": "ONE"
    },
    "docker.io/library/golang:1.26": {
      "linux/amd64": "ONE",
      "linux/arm64": "TWO"
    }
  }
}
`

func digests(text string) string {
	return strings.NewReplacer("ONE", one.String(), "TWO", two.String()).Replace(text)
}

func TestWriteIsStableAndReadsBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipeline.lock")
	if _, err := lockfile.Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got error %v, want ErrNotExist", err)
	}
	for range 2 {
		if err := lockfile.Write(path, sample()); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if diff := cmp.Diff(digests(sampleText), string(data)); err != nil || diff != "" {
			t.Fatalf("error %v:\n%s", err, diff)
		}
	}
	got, err := lockfile.Read(path)
	if diff := cmp.Diff(sample(), got); err != nil || diff != "" {
		t.Errorf("error %v:\n%s", err, diff)
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm/v7", "linux/arm64"}, got.Platforms()); diff != "" {
		t.Error(diff)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("left %v, error %v", entries, err)
	}
}

func TestPathIsBesideThePipeline(t *testing.T) {
	for file, want := range map[string]string{
		"pipeline.yml": "pipeline.lock", "ci/build.yaml": "ci/build.lock", ".stepexec.yml": ".stepexec.lock", "a.b/c": "a.b/c.lock",
	} {
		if got := lockfile.Path(file); got != want {
			t.Errorf("Path %s is %s, want %s", file, got, want)
		}
	}
}

func TestParseSaysWhereItIsWrong(t *testing.T) {
	good := digests(sampleText)
	for name, c := range map[string]struct{ text, want string }{
		"empty":              {"", "p.lock:1: the file ends too early"},
		"not JSON":           {"version: 1\n", "p.lock:1: not JSON"},
		"not an object":      {"[]", "p.lock:1: expected an object"},
		"cut off":            {good[:len(good)-4], "p.lock:11: the file ends too early"},
		"no version":         {"{\n\"images\": {}}", `p.lock:2: key "version" is missing`},
		"no images":          {`{"version": 1}`, `p.lock:1: key "images" is missing`},
		"next version":       {strings.Replace(good, "1,", "2,", 1), "p.lock:2: version 2 is not known"},
		"version as text":    {strings.Replace(good, "1,", `"1",`, 1), "p.lock:2: version 1 is not known"},
		"unknown key":        {strings.Replace(good, `"images"`, `"image"`, 1), `p.lock:3: unknown key "image"`},
		"two versions":       {strings.Replace(good, "1,", `1, "version": 1,`, 1), `p.lock:2: duplicate key "version"`},
		"image twice":        {strings.Replace(good, "127.0.0.1:5000/app:1", "docker.io/library/golang:1.26", 1), `p.lock:7: duplicate key "docker.io/library/golang:1.26"`},
		"platform twice":     {strings.Replace(good, "arm64", "amd64", 1), `p.lock:9: duplicate key "linux/amd64"`},
		"image without name": {strings.Replace(good, "127.0.0.1:5000/app:1", "", 1), "p.lock:4: the name of the image is empty"},
		"no platform":        {`{"version": 1, "images": {"a": {}}}`, `p.lock:1: image "a" is locked for no platform`},
		"wrong platform":     {strings.Replace(good, "linux/arm/v7", "linux", 1), `p.lock:5: platform "linux" is not`},
		"short digest":       {strings.Replace(good, one.String(), "sha256:ab", 1), "p.lock:5: sha256:ab is not a digest"},
		"other algorithm":    {strings.Replace(good, one.String(), "sha512:"+strings.Repeat("ab", 64), 1), "p.lock:5: sha512:"},
		"a map as digest":    {strings.Replace(good, `"`+one.String()+`"`, "{}", 1), "p.lock:5: { is not a digest"},
		"images are a list":  {`{"version": 1, "images": []}`, "p.lock:1: expected an object"},
		"more after the end": {good + "{}", "p.lock:13: something follows"},
		"trailing comma":     {strings.Replace(good, "  }\n}", "  },\n}", 1), "p.lock:12: not JSON"},
		"not UTF-8":          {"{\"\xff\": 1}", "p.lock:1: the file is not UTF-8"},
		"too large":          {strings.Repeat(" ", 5<<20), "more than the"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := lockfile.Parse("p.lock", []byte(c.text))
			var wrong *lockfile.Error
			if !errors.As(err, &wrong) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		})
	}
}

// What Parse takes is written and read back unchanged; what it does not take is an *Error of a line that exists.
func FuzzParse(f *testing.F) {
	f.Add([]byte(digests(sampleText)))
	f.Add([]byte(`{"version": 1, "images": {}}`))
	f.Add([]byte(`{"version": 1, "images": {"a": {"linux/amd64": 5}}}`))
	f.Add([]byte("{\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		images, err := lockfile.Parse("f", data)
		if err != nil {
			var wrong *lockfile.Error
			if !errors.As(err, &wrong) || wrong.Line < 1 || wrong.Line > 1+strings.Count(string(data), "\n") {
				t.Errorf("got %#v", err)
			}
			return
		}
		path := filepath.Join(t.TempDir(), "lock")
		if err := lockfile.Write(path, images); err != nil {
			t.Fatal(err)
		}
		again, err := lockfile.Read(path)
		if diff := cmp.Diff(images, again); err != nil || diff != "" {
			t.Errorf("error %v:\n%s", err, diff)
		}
	})
}
