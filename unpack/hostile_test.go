package unpack_test

import (
	"archive/tar"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/unpack"
)

// Every attack is refused, leaves nothing in the store and nothing outside of it.
func TestRefuses(t *testing.T) {
	long := strings.Repeat("x", 256)
	for name, attack := range map[string]struct {
		entries []entry
		want    string // part of the message
	}{
		"dot-dot above the root":                  {[]entry{file("../../x", "")}, `entry "../../x": unpack: the name climbs out`},
		"dot-dot above the root after a name":     {[]entry{file("a/../../x", "")}, "climbs out"},
		"dot-dot alone":                           {[]entry{dir("..")}, "climbs out"},
		"absolute name with dot-dot":              {[]entry{file("/../x", "")}, "climbs out"},
		"file through a symlink to itself":        {[]entry{symlink("l", "l"), file("l/x", "")}, `entry "l/x": follow symbolic links of the layer: too many levels`},
		"file through symlinks in a circle":       {[]entry{symlink("a", "b"), symlink("b", "a/c"), file("a/x", "")}, "too many levels"},
		"hard link through a symlink to itself":   {[]entry{symlink("l", "l"), link("x", "l/y")}, "too many levels"},
		"whiteout through a symlink to itself":    {[]entry{symlink("l", "l"), whiteout("l/.wh.x")}, "too many levels"},
		"file through a symlink to a file":        {[]entry{file("f", ""), symlink("l", "f"), file("l/x", "")}, `entry "l/x": create: not a directory`},
		"hard link through a symlink to the host": {[]entry{symlink("l", "/etc"), link("x", "l/shadow")}, `entry "x": link: "etc/shadow": neither this layer nor one below`},
		"path that a symlink makes too long":      {[]entry{symlink("l", strings.Repeat("0123456789/", 370)), file("l/"+strings.Repeat("x", 200), "")}, "file name too long"},
		"hard link above the root":                {[]entry{link("x", "../../etc/shadow")}, "climbs out"},
		"hard link to a file of the host":         {[]entry{link("x", "/etc/shadow")}, `entry "x": link: "etc/shadow": neither this layer nor one below`},
		"hard link to nothing":                    {[]entry{link("x", "y")}, `entry "x": link: "y": neither this layer nor one below`},
		"hard link to itself":                     {[]entry{link("x", "x")}, `entry "x": link to "x": neither this layer`},
		"hard link to a directory":                {[]entry{dir("d"), link("x", "d")}, "is a directory"},
		"hard link to the root":                   {[]entry{link("x", "/")}, "is a directory"},
		"hard link in place of its parent":        {[]entry{file("d/f", ""), link("d", "d/f")}, "is a directory"},
		"hard link with an empty target":          {[]entry{link("x", "")}, "the name is empty"},
		"empty name":                              {[]entry{symlink("", "/etc")}, `entry "": unpack: the name is empty`},
		"hard link below a file":                  {[]entry{file("f", ""), link("x", "f/y")}, `entry "x": link to "f/y": neither this layer`},
		"root as a file":                          {[]entry{file("/.", "")}, "root of a layer must be a directory"},
		"root as a symlink":                       {[]entry{symlink(".", "/tmp")}, "root of a layer must be a directory"},
		"root as a hard link":                     {[]entry{file("f", ""), link("./", "f")}, "root of a layer must be a directory"},
		"entry below a file":                      {[]entry{file("p", ""), file("p/c", "")}, `entry "p/c": create: not a directory`},
		"entry below a FIFO":                      {[]entry{fifo("p"), file("p/c", "")}, "not a directory"},
		"entry below a hard link to a lower":      {[]entry{link("p", "lower"), file("p/c", "")}, "not a directory"},
		"whiteout of nothing":                     {[]entry{whiteout("d/.wh.")}, "invalid whiteout"},
		"whiteout of the directory":               {[]entry{whiteout("d/.wh..")}, "invalid whiteout"},
		"whiteout of the parent":                  {[]entry{whiteout("d/.wh...")}, "invalid whiteout"},
		"entry below a whiteout":                  {[]entry{file(".wh.a/b", "")}, "invalid whiteout"},
		"opaque marker below a whiteout":          {[]entry{file(".wh.a/.wh..wh..opq", "")}, "invalid whiteout"},
		"smuggled whiteout device":                {[]entry{char("victim", 0, 0)}, "device 0:0"},
		"device major too large":                  {[]entry{char("x", 1<<33, 3, format(tar.FormatGNU))}, "out of range"},
		"device minor too large":                  {[]entry{block("x", 8, 1<<20)}, "out of range"},
		"owner -1, chown's word for nobody":       {[]entry{file("x", "", owner(wide(1<<32-1), 0))}, "out of range"},
		"group beyond 32 bits":                    {[]entry{file("x", "", owner(0, wide(1<<32)))}, "out of range"},
		"owner below zero":                        {[]entry{file("x", "", owner(-5, 0), format(tar.FormatGNU))}, "out of range"},
		"component of 256 bytes":                  {[]entry{file(long, "")}, "file name too long"},
		"path of 5000 bytes":                      {[]entry{file(strings.Repeat("0123456789/", 500)+"x", "")}, "file name too long"},
		"symlink target of 5000 bytes":            {[]entry{symlink("l", strings.Repeat("x", 5000))}, "file name too long"},
		"empty symlink target":                    {[]entry{symlink("l", "")}, "no such file"},
		"broken capability":                       {[]entry{file("x", "", xattr("security.capability", "junk"))}, `entry "x": set xattr "security.capability": invalid argument`},
		"unknown type":                            {[]entry{file("x", "", kind('Z'))}, "unknown entry type"},
		"name with escape sequences":              {[]entry{file("../\x1b]0;pwned\x07\n", "")}, `"../\x1b]0;pwned\a\n"`},
		"truncated tar":                           {[]entry{file("a", "a"), {raw: []byte("garbage that is no header")}}, "read tar"},
		"garbage header":                          {[]entry{{raw: []byte(strings.Repeat("garbage!", 64))}}, "read tar"},
	} {
		t.Run(name, func(t *testing.T) {
			small := layerOf(t, attack.entries...)
			outside := sentinel(t)
			s, _ := openStore(t)
			if _, err := s.Unpack(t.Context(), []unpack.Layer{inStages(small)}, nil); err == nil || !strings.Contains(err.Error(), attack.want) {
				t.Errorf("as a large layer: got error %v, want one with %q", err, attack.want)
			}
			s, root := openStore(t)
			_, err := s.Unpack(t.Context(), []unpack.Layer{small}, nil)
			if err == nil || !strings.Contains(err.Error(), attack.want) {
				t.Fatalf("got error %v, want one with %q", err, attack.want)
			}
			if strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("message has raw control characters: %q", err)
			}
			if strings.Contains(attack.want, ": link: ") {
				assertClean(t, root, 1) // the layer is fine, the stack is not
			} else {
				assertClean(t, root, 0)
			}
			outside()
		})
	}
}

// sentinel changes into a directory with a file named like those that attacks reach for, and returns a check
// that the file, /etc/shadow and /tmp/x are as before.
func sentinel(t *testing.T) (check func()) {
	t.Helper()
	cwd := t.TempDir()
	t.Chdir(cwd)
	for _, name := range []string{"x", "shadow", "f"} {
		if err := os.WriteFile(filepath.Join(cwd, name), []byte("sentinel"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := outsideState(t, cwd)
	return func() {
		t.Helper()
		if diff := cmp.Diff(before, outsideState(t, cwd)); diff != "" {
			t.Errorf("changed outside of the store (-before +after):\n%s", diff)
		}
	}
}

func outsideState(t *testing.T, cwd string) map[string]any {
	t.Helper()
	state := map[string]any{"cwd": snapshot(t, cwd)}
	for _, path := range []string{"/etc/shadow", "/tmp/x", "/tmp/d", "/tmp/null", "/x", "/tmp/a"} {
		var st unix.Stat_t
		err := unix.Lstat(path, &st)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			t.Fatal(err)
		}
		state[path] = []any{st.Ino, st.Mode, st.Ctim, st.Nlink}
	}
	return state
}

func TestRefusesNameWithNUL(t *testing.T) {
	// archive/tar will not write this. A PAX record can hold it, and what follows the NUL must not be lost.
	record := "16 path=a\x00b/c/d\n"
	header := tarOf(t, file("x", record, format(tar.FormatUSTAR), at(time.Unix(0, 0))))
	header[156] = 'x'
	fixChecksum(header)
	data := append(header[:1024:1024], tarOf(t, file("innocent", ""))...)
	s, root := openStore(t)
	_, err := s.Unpack(t.Context(), []unpack.Layer{streamLayer(data, data)}, nil)
	if err == nil {
		t.Error("a name with a NUL was accepted")
	}
	assertClean(t, root, 0)
}

func fixChecksum(block []byte) {
	copy(block[148:156], "        ")
	sum := 0
	for _, b := range block[:512] {
		sum += int(b)
	}
	copy(block[148:156], []byte{
		'0' + byte(sum>>15&7), '0' + byte(sum>>12&7), '0' + byte(sum>>9&7), '0' + byte(sum>>6&7),
		'0' + byte(sum>>3&7), '0' + byte(sum&7), 0, ' ',
	})
}

// What looks hostile and is not: it lands inside the layer.
func TestAccepts(t *testing.T) {
	long := strings.Repeat("x", 255)
	for name, c := range map[string]struct {
		entries []entry
		want    []string
	}{
		"absolute name":                           {[]entry{file("/abs", "")}, []string{"abs"}},
		"double slashes":                          {[]entry{file("//a//b", "")}, []string{"a", "a/b"}},
		"dot-dot inside":                          {[]entry{file("a/../b", "")}, []string{"b"}},
		"symlinks to anywhere":                    {[]entry{symlink("l", "/etc/shadow"), symlink("m", "../../..")}, []string{"l", "m"}},
		"file through an absolute symlink":        {[]entry{symlink("l", "/tmp"), file("l/x", "")}, []string{"l", "tmp", "tmp/x"}},
		"file through a symlink that climbs":      {[]entry{symlink("a/l", "../../../../../b"), file("a/l/x", "")}, []string{"a", "a/l", "b", "b/x"}},
		"file through a chain of symlinks":        {[]entry{symlink("a", "b"), symlink("b", "c/d"), symlink("c", "/e"), file("a/x", "")}, []string{"a", "b", "c", "e", "e/d", "e/d/x"}},
		"file through .. after a symlink":         {[]entry{dir("e/f"), symlink("c", "/e/f"), symlink("a", "c/../g"), file("a/x", "")}, []string{"a", "c", "e", "e/f", "e/g", "e/g/x"}},
		"file two below a symlink":                {[]entry{symlink("l", "/tmp"), file("l/a/x", "")}, []string{"l", "tmp", "tmp/a", "tmp/a/x"}},
		"directory became a symlink":              {[]entry{dir("d"), file("d/a", ""), symlink("d", "/tmp"), file("d/x", "")}, []string{"d", "tmp", "tmp/x"}},
		"directory through a symlink":             {[]entry{symlink("l", "/tmp"), dir("l/d")}, []string{"l", "tmp", "tmp/d"}},
		"device through a symlink":                {[]entry{symlink("l", "/tmp"), char("l/null", 1, 3)}, []string{"l", "tmp", "tmp/null"}},
		"hard link through a symlink":             {[]entry{file("tmp/f", ""), symlink("l", "/tmp"), link("x", "l/f")}, []string{"l", "tmp", "tmp/f", "x"}},
		"hard link into a symlink":                {[]entry{file("f", ""), symlink("l", "/tmp"), link("l/x", "f")}, []string{"f", "l", "tmp", "tmp/x"}},
		"whiteout below what becomes a link":      {[]entry{whiteout("l/.wh.x"), symlink("l", "/tmp")}, []string{"l"}},
		"opaque marker below what becomes a link": {[]entry{whiteout("l/a/.wh..wh..opq"), symlink("l", "/tmp")}, []string{"l"}},
		"symlink to the root":                     {[]entry{symlink("l", "/"), file("l/x", ""), symlink("m", ".."), file("m/y", "")}, []string{"l", "m", "x", "y"}},
		"symlink became a directory":              {[]entry{symlink("d", "/tmp"), dir("d"), file("d/x", "")}, []string{"d", "d/x"}},
		"absolute hard link target":               {[]entry{file("usr/bin/a", ""), link("usr/bin/b", "/usr/bin/a")}, []string{"usr", "usr/bin", "usr/bin/a", "usr/bin/b"}},
		"hard link to a symlink":                  {[]entry{symlink("l", "/etc/shadow"), link("m", "l")}, []string{"l", "m"}},
		"file given twice by tar":                 {[]entry{file("f", ""), link("f", "f")}, []string{"f"}},
		"component of 255 bytes":                  {[]entry{file(long, "")}, []string{long}},
		"GNU long name":                           {[]entry{file(long+"/"+long, "", format(tar.FormatGNU))}, []string{long, long + "/" + long}},
		"newline, escape, invalid UTF-8":          {[]entry{file("a\nb\x1b]0;c\a", ""), file("\xff\xfe", "", format(tar.FormatGNU))}, []string{"a\nb\x1b]0;c\a", "\xff\xfe"}},
		"backslashes are letters":                 {[]entry{file(`..\..\x`, "")}, []string{`..\..\x`}},
		"aufs bookkeeping is ignored":             {[]entry{whiteout(".wh..wh.aufs"), dir(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", ""), whiteout(".wh..wh."), file("x", "")}, []string{"x"}},
		"whiteout-like name in the middle":        {[]entry{file("a.wh.b", "")}, []string{"a.wh.b"}},
		"empty layer":                             {nil, nil},
		"global header does not rename":           {[]entry{globalHeader(map[string]string{"path": "evil", "size": "1"}), file("good", "")}, []string{"good"}},
		"contiguous file is a regular file":       {[]entry{file("c", "x", kind(tar.TypeCont))}, []string{"c"}},
	} {
		t.Run(name, func(t *testing.T) {
			outside := sentinel(t)
			got := snapshot(t, unpackOne(t, c.entries...))
			if diff := cmp.Diff(c.want, names(got), sorted); diff != "" {
				t.Errorf("tree differs (-want +got):\n%s", diff)
			}
			outside()
		})
	}
}

func globalHeader(records map[string]string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "global", PAXRecords: records}}
}

// A later entry for a hard link must not change the file through its other name.
func TestDuplicateOfHardLinkLeavesTargetAlone(t *testing.T) {
	got := snapshot(t, unpackOne(t,
		file("a", "first", mode(0o600)), link("b", "a", mode(0o777), owner(7, 7)), file("b", "second", mode(0o4755))))
	if a := got["a"]; a.Content != "first" || a.Mode != 0o600 || a.UID != 0 || a.Nlink != 1 {
		t.Errorf("a was changed through b: %+v", a)
	}
	if b := got["b"]; b.Content != "second" || b.Mode != 0o4755 {
		t.Errorf("b is not the last entry: %+v", b)
	}
}

func TestLastEntryWins(t *testing.T) {
	for name, c := range map[string]struct {
		entries []entry
		want    map[string]string // path to type
	}{
		"file over file":           {[]entry{file("a", "1"), file("a", "2")}, map[string]string{"a": "file"}},
		"file over directory tree": {[]entry{file("a/b/c", ""), dir("a/d"), file("a", "")}, map[string]string{"a": "file"}},
		"directory over file":      {[]entry{file("a", ""), dir("a"), file("a/b", "")}, map[string]string{"a": "dir", "a/b": "file"}},
		"directory over directory": {[]entry{dir("a"), file("a/b", ""), dir("a", mode(0o700))}, map[string]string{"a": "dir", "a/b": "file"}},
		"symlink over directory":   {[]entry{file("a/b", ""), symlink("a", "x")}, map[string]string{"a": "symlink"}},
		"fifo over symlink":        {[]entry{symlink("a", "x"), fifo("a")}, map[string]string{"a": "fifo"}},
		"link over directory":      {[]entry{file("a/b", ""), file("f", ""), link("a", "f")}, map[string]string{"a": "file", "f": "file"}},
		"tree, file, tree again":   {[]entry{file("a/b/c", ""), file("a", ""), dir("a"), file("a/x", "")}, map[string]string{"a": "dir", "a/x": "file"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := map[string]string{}
			for path, n := range snapshot(t, unpackOne(t, c.entries...)) {
				if path != "." {
					got[path] = n.Type
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("tree differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMetadata(t *testing.T) {
	old := unix.Umask(0o077) // must not matter
	defer unix.Umask(old)
	far := time.Unix(1<<33, 999999999).UTC()
	got := snapshot(t, unpackOne(t,
		dir("./", mode(0o700), owner(12, 34)),
		dir("sgid", mode(0o2775), owner(0, 50)),
		file("sgid/inherits-not", "", mode(0o666)),
		file("suid", "", mode(0o4755), owner(1000, 1000)),
		file("large-owner", "", owner(wide(1<<31+5), wide(1<<32-2))),
		file("future", "", at(far)),
		file("past", "", at(time.Unix(-1000, 0))),
		file("cap", "", owner(5, 5), xattr("security.capability", capNetRaw)),
		dir("tmp", mode(0o1777), xattr("user.k", "v")),
		symlink("l", "x", owner(3, 4)),
		char("null", 1, 3, mode(0o666), owner(0, 5)),
		block("sda", 8, 0, mode(0o660)),
		fifo("pipe", mode(0o622)),
	))
	when := "1614834367.123456789"
	want := map[string]node{
		".":                 {Type: "dir", Mode: 0o700, UID: 12, GID: 34, Mtime: when},
		"sgid":              {Type: "dir", Mode: 0o2775, GID: 50, Mtime: when},
		"sgid/inherits-not": {Type: "file", Mode: 0o666, Mtime: when, Nlink: 1},
		"suid":              {Type: "file", Mode: 0o4755, UID: 1000, GID: 1000, Mtime: when, Nlink: 1},
		"large-owner":       {Type: "file", Mode: 0o644, UID: 1<<31 + 5, GID: 1<<32 - 2, Mtime: when, Nlink: 1},
		"future":            {Type: "file", Mode: 0o644, Mtime: "8589934592.999999999", Nlink: 1},
		"past":              {Type: "file", Mode: 0o644, Mtime: "-1000.000000000", Nlink: 1},
		"cap":               {Type: "file", Mode: 0o644, UID: 5, GID: 5, Mtime: when, Nlink: 1, Xattrs: `security.capability="` + `\x01\x00\x00\x02\x00 \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"`},
		"tmp":               {Type: "dir", Mode: 0o1777, Mtime: when, Xattrs: `user.k="v"`},
		"l":                 {Type: "symlink", Mode: 0o777, UID: 3, GID: 4, Target: "x", Mtime: when, Nlink: 1},
		"null":              {Type: "char", Mode: 0o666, GID: 5, Rdev: unix.Mkdev(1, 3), Mtime: when, Nlink: 1},
		"sda":               {Type: "block", Mode: 0o660, Rdev: unix.Mkdev(8, 0), Mtime: when, Nlink: 1},
		"pipe":              {Type: "fifo", Mode: 0o622, Mtime: when, Nlink: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metadata differs (-want +got):\n%s", diff)
	}
}

// capNetRaw is the xattr of a file with cap_net_raw+ep, struct vfs_cap_data revision 2.
const capNetRaw = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func TestXattrsThatAreNotKeptAreWarnedOf(t *testing.T) {
	layer := layerOf(t,
		dir("d", xattr("trusted.overlay.opaque", "y"), xattr("user.overlay.opaque", "y"), xattr("trusted.overlay.redirect", "/etc")),
		file("selinux", "", xattr("security.selinux", "system_u:object_r:bin_t:s0")),
		file("huge", "", xattr("user.huge", strings.Repeat("x", 70<<10))),
		symlink("l", "x", xattr("user.on-symlink", "v")),
		file("kept", "", xattr("user.kept", "v\x01\xff")))
	s, _ := openStore(t)
	dirs, err := s.Unpack(t.Context(), []unpack.Layer{layer}, nil)
	if err != nil {
		t.Fatal(err)
	}
	nodes := snapshot(t, mounted(t, dirs)[0])
	if len(nodes) != 6 {
		t.Errorf("got %d files", len(nodes))
	}
	for path, n := range nodes {
		want := ""
		if path == "kept" {
			want = `user.kept="v\x01\xff"`
		}
		if n.Xattrs != want {
			t.Errorf("%s has xattrs %q, want %q", path, n.Xattrs, want)
		}
	}
	warnings, err := s.Warnings(layer.DiffID)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(warnings, "\n")
	for _, want := range []string{"trusted.overlay.opaque", "user.overlay.opaque", "trusted.overlay.redirect", "security.selinux", "user.huge", "user.on-symlink"} {
		if strings.Count(all, strconv.Quote(want)+" is not kept") != 1 {
			t.Errorf("want one warning of %s in:\n%s", want, all)
		}
	}
}

func TestDirectoryACLDoesNotLeakIntoFiles(t *testing.T) {
	// struct posix_acl_xattr: version 2, user::rwx group::rwx mask::rwx other::rwx and user 7 rwx.
	acl := "\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x02\x00\x07\x00\x07\x00\x00\x00" +
		"\x04\x00\x07\x00\xff\xff\xff\xff\x10\x00\x07\x00\xff\xff\xff\xff\x20\x00\x07\x00\xff\xff\xff\xff"
	got := snapshot(t, unpackOne(t, dir("d", xattr("system.posix_acl_default", acl)), file("d/f", ""), dir("d/e")))
	if !strings.Contains(got["d"].Xattrs, "posix_acl_default") {
		t.Errorf("d has xattrs %q, want its default ACL", got["d"].Xattrs)
	}
	if got["d/f"].Xattrs != "" || got["d/e"].Xattrs != "" {
		t.Errorf("the default ACL was inherited: %q, %q", got["d/f"].Xattrs, got["d/e"].Xattrs)
	}
}
