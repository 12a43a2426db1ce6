package unpack_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/unpack"
)

// spoilable is a store with an image that has everything that Verify looks at.
type spoilable struct {
	root, record         string
	base, top, fixup     string // directories
	baseLayer, linkLayer unpack.Layer
}

func newSpoilable(t *testing.T, format unpack.Format) (*unpack.Store, spoilable) {
	s, root := openStore(t)
	s.Format = format
	base := layerOf(t, dir("tmp", mode(0o1777)), file("a", "content"), dir("gone"), file("gone/x", ""), dir("opaque"), file("opaque/hidden", ""))
	top := layerOf(t, file("tmp/x", ""), file("gone/.wh.x", ""), link("b", "a"), dir("opaque"), file("opaque/.wh..wh..opq", ""), file("opaque/shown", ""))
	pulled(t, s, "image", base, top)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	layer := func(d digest.Digest) string { return filepath.Join(root, "layers/sha256", d.Encoded()) }
	chain := identity.ChainID([]digest.Digest{base.DiffID, top.DiffID})
	return s, spoilable{
		root:   root,
		record: filepath.Join(root, "images", digest.FromString("image\x00"+testPlatform).Encoded()+".json"),
		base:   layer(base.DiffID), top: layer(top.DiffID), fixup: filepath.Join(root, "fixups", chain.Encoded()),
		baseLayer: base, linkLayer: top,
	}
}

func TestVerifyFindsNothingInAGoodStore(t *testing.T) {
	for _, format := range []unpack.Format{unpack.FormatDirectories, unpack.FormatErofs} {
		s, _ := newSpoilable(t, format)
		pulled(t, s, "other", layerOf(t, file(strings.Repeat("0123456789/", 370)+"x", "")))
		pulled(t, s, "empty")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := s.Verify(t.Context())
		if err != nil || got.Images != 3 || got.Layers != 4 || got.Files < 380 || len(got.Problems) > 0 {
			t.Errorf("got %+v, error %v", got, err)
		}
		if freed := prune(t, s, unpack.PruneOptions{All: true}); freed.Layers != 4 {
			t.Errorf("freed %+v: Verify still holds something", freed)
		}
	}
}

func TestVerifyFinds(t *testing.T) {
	needRoot(t)
	write := func(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) }
	directories, images := unpack.FormatDirectories, unpack.FormatErofs
	for name, c := range map[string]struct {
		format unpack.Format
		spoil  func(spoilable) error
		want   string
	}{
		"a root that others may write":     {directories, func(s spoilable) error { return os.Chmod(s.root, 0o777) }, "mode 0777"},
		"a layer that others may enter":    {directories, func(s spoilable) error { return os.Chmod(s.base, 0o755) }, "mode 0755"},
		"a layer of another user":          {directories, func(s spoilable) error { return os.Chown(s.base, 1000, 0) }, "uid 1000"},
		"a file beside a layer":            {directories, func(s spoilable) error { return write(s.base+"/more", "") }, `"more" does not belong`},
		"notes that cannot be read":        {directories, func(s spoilable) error { return write(s.base+"/layer.json", "{") }, "layer.json"},
		"a layer that is gone":             {directories, func(s spoilable) error { return os.RemoveAll(s.base) }, "is not whole"},
		"a layer without notes":            {directories, func(s spoilable) error { return os.Remove(s.base + "/layer.json") }, "is not whole"},
		"a layer lost with the power":      {directories, func(s spoilable) error { return write(s.base+"/unsettled", "boot") }, "is not whole"},
		"a layer without files":            {directories, func(s spoilable) error { return os.RemoveAll(s.base + "/fs") }, "no such file"},
		"a record that cannot be read":     {directories, func(s spoilable) error { return write(s.record, "{") }, "remove the file and pull"},
		"a record with a bad digest":       {directories, func(s spoilable) error { return write(s.record, `{"layers":[{"diffID":"../../x"}]}`) }, "digest"},
		"a record under another name":      {directories, func(s spoilable) error { return os.Rename(s.record, filepath.Dir(s.record)+"/x.json") }, "another image"},
		"a record of other layers":         {directories, func(s spoilable) error { return replaceIn(s.record, s.baseLayer.DiffID, s.linkLayer.DiffID) }, "other layers"},
		"an overlay redirect":              {directories, func(s spoilable) error { return setXattr(s.base+"/fs/tmp", "trusted.overlay.redirect", "/etc") }, "overlay.redirect"},
		"an overlay redirect for users":    {directories, func(s spoilable) error { return setXattr(s.base+"/fs/a", "user.overlay.metacopy", "") }, "overlay.metacopy"},
		"an opaque directory of new kind":  {directories, func(s spoilable) error { return setXattr(s.base+"/fs/tmp", "trusted.overlay.opaque", "x") }, "overlay.opaque"},
		"an overlay xattr on the root":     {directories, func(s spoilable) error { return setXattr(s.base+"/fs", "trusted.overlay.origin", "x") }, "overlay.origin"},
		"a smuggled whiteout":              {directories, func(s spoilable) error { return unix.Mknod(s.top+"/fs/etc", unix.S_IFCHR, 0) }, `whiteout "etc"`},
		"a whiteout that is gone":          {directories, func(s spoilable) error { return os.Remove(s.top + "/fs/gone/x") }, "is gone"},
		"a hard link's place that is gone": {directories, func(s spoilable) error { return os.Remove(s.top + "/fs/b") }, "is gone"},
		"a directory that is gone":         {directories, func(s spoilable) error { return os.RemoveAll(s.top + "/fs/tmp") }, "is gone"},
		"a fix-up layer that is gone":      {directories, func(s spoilable) error { return os.RemoveAll(s.fixup) }, "fix-up layer"},
		"a fix-up directory that is gone":  {directories, func(s spoilable) error { return os.RemoveAll(s.fixup + "/fs/tmp") }, "directory \"\": its metadata"},
		"a fix-up file that is gone":       {directories, func(s spoilable) error { return os.Remove(s.fixup + "/fs/b") }, `"b" is missing`},
		"a file more in a fix-up layer":    {directories, func(s spoilable) error { return write(s.fixup+"/fs/tmp/passwd", "") }, "does not belong"},
		"a directory more in a fix-up":     {directories, func(s spoilable) error { return os.Mkdir(s.fixup+"/fs/etc", 0o755) }, "does not belong"},
		"another mode in a fix-up":         {directories, func(s spoilable) error { return os.Chmod(s.fixup+"/fs/tmp", 0o755) }, "metadata differs"},
		"a layer without its image":        {images, func(s spoilable) error { return os.Remove(s.base + "/fs.erofs") }, "no such file"},
		"an image that was cut":            {images, func(s spoilable) error { return os.Truncate(s.base+"/fs.erofs", 4096) }, "another size"},
		"an image with another byte":       {images, func(s spoilable) error { return replaceByte(s.base + "/fs.erofs") }, "crc32c"},
		"a directory in place of an image": {images, func(s spoilable) error { return os.Rename(s.base+"/fs.erofs", s.base+"/fs") }, "no such file"},
		"another file in a fix-up":         {directories, func(s spoilable) error { return write(s.fixup+"/fs/b", "tampered") }, "differs"},
	} {
		t.Run(name, func(t *testing.T) {
			s, where := newSpoilable(t, c.format)
			if err := c.spoil(where); err != nil {
				t.Fatal(err)
			}
			got, err := s.Verify(t.Context())
			if err != nil || len(got.Problems) == 0 {
				t.Fatalf("got %+v, error %v, want %q", got, err, c.want)
			}
			if text := got.Problems[0].Err.Error(); !strings.Contains(text, c.want) {
				t.Errorf("problem %q, want %q in it", text, c.want)
			}
		})
	}
}

// replaceByte changes the last letter of "content".
func replaceByte(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, bytes.Replace(data, []byte("content"), []byte("contend"), 1), 0o600)
}

func replaceIn(path string, old, with digest.Digest) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	at := strings.LastIndex(string(data), `"diffID": "`+string(old))
	text := string(data[:at]) + strings.Replace(string(data[at:]), string(old), string(with), 1)
	return os.WriteFile(path, []byte(text), 0o600)
}

func setXattr(path, name, value string) error { return unix.Lsetxattr(path, name, []byte(value), 0) }
