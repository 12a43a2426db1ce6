package unpack_test

import (
	"archive/tar"
	"slices"
	"strings"
	"time"
)

// image is a sample in which the references agree with stepexec.
func image(name string, layers ...[]entry) sample {
	return sample{name: name, layers: layers, differences: map[string]difference{}}
}

// layer is a layer that declares its root, as those of all builders do.
func layer(entries ...entry) []entry {
	return append([]entry{dir("./")}, entries...)
}

// differs is s with a reference that makes another tree of it.
func (s sample) differs(reference, why string, lines ...string) sample {
	s.differences[reference] = difference{why: why, lines: lines}
	return s
}

// fails is s with a reference that refuses it.
func (s sample) fails(reference, why, message string) sample {
	s.differences[reference] = difference{why: why, fails: message}
	return s
}

// refuse is s when stepexec has to refuse it.
func (s sample) refuse(message string) sample {
	s.refused = message
	return s
}

// Why references differ from stepexec, where more than one sample shows it.
const (
	opaqueMissing    = "the directory is not made opaque, so that what the whiteout removed shows"
	whiteoutInTheWay = "a whiteout is a device, which is made where something is already"
	whiteoutListed   = "overlayfs lists a whiteout in a directory that is not merged with a lower one"
	directoryImplied = "a layer is unpacked without those below, and has a directory for all that it may remove"
	linkInLayerOnly  = "the target of a hard link is looked for in the layer only"
	linkHeader       = "the header of a hard link changes the file; in stepexec and GNU tar a link has no metadata"
	timeAbove        = "making an undeclared directory changes the time of the one above it"
	timeRemoved      = "removing from a directory that the layer has changes its time"
	bothRefuse       = "stepexec refuses it too"
	overlayControl   = "an image has no say in how overlayfs mounts it"
)

// handmadeSamples are the cases in which unpackers are known to go wrong, and those in which they must not.
func handmadeSamples() []sample {
	return slices.Concat(plainSamples(), whiteoutSamples(), hardLinkSamples(), metadataSamples(), refusedSamples())
}

// plainSamples are about names and about what takes the place of what.
func plainSamples() []sample {
	long := strings.Repeat("n", 255)
	return []sample{
		image("one layer", layer(dir("d"), file("d/f", "1"), symlink("l", "d/f"))),
		image("empty layers", layer(file("a", "1")), nil, layer()),
		image("same layer twice", layer(file("a", "1")), layer(file("a", "2"), file("b", "2")), layer(file("a", "1"))),
		image("absolute names", layer(file("/abs", "1"), link("/abs2", "/abs"))),
		image("dot-dot inside", layer(dir("a"), file("a/../b", "1"), file("./c//d", "1"))).
			differs(umoci, timeAbove, `"." mtime now, not 1614834367.123456789`),
		image("long names", layer(dir(long), dir(long+"/"+long), file(long+"/"+long+"/"+long, "1"), file("gnu"+long[:200], "1", format(tar.FormatGNU)), symlink("l", strings.Repeat("t/", 1000)))),
		image("odd names", layer(file("a\nb\x1b]0;c\a", "1"), file("\xff\xfe", "1", format(tar.FormatGNU), at(time.Unix(1, 0))), file(`..\..\x`, "1"), file("a.wh.b", "1"))),
		image("large file", layer(file("f", content(3<<20)))),
		image("file replaced", layer(file("f", "1")), layer(file("f", "22", mode(0o600)))),
		image("file by directory", layer(file("d", "1")), layer(dir("d"), file("d/f", "2"))),
		image("file by directory not declared", layer(file("d", "1")), layer(file("d/f", "2"))).
			fails(umoci, "the lower file is in the way of the directory", "not a directory"),
		image("directory by file", layer(dir("d"), file("d/f", "1")), layer(file("d", "2"))),
		image("directory by file and back", layer(dir("d"), file("d/f", "1")), layer(file("d", "2")), layer(dir("d"), file("d/g", "3"))),
		image("directory by symlink", layer(dir("d"), file("d/f", "1")), layer(symlink("d", "x"))),
		image("directory over symlink", layer(dir("usr"), file("usr/a", "1"), symlink("lib", "usr")), layer(dir("lib"), file("lib/b", "2"))),
		image("child below lower symlink", layer(dir("usr"), file("usr/a", "1"), symlink("lib", "usr")), layer(file("lib/b", "2"))).
			differs(umoci, "the lower symbolic link is followed; in overlayfs a directory hides it",
				`"lib" links 1, not 0`, `"lib" mode 777, not 755`, `"lib" mtime 1614834367.123456789, not 0.000000000`,
				`"lib" target usr, not `, `"lib" type symlink, not dir`, `"lib/b" is absent, not a file`,
				`"usr/b" is a file, not absent`,
			),
		image("directory redeclared", layer(dir("d"), file("d/f", "1")), layer(dir("d", mode(0o2750), owner(5, 6), xattr("user.k", "v")))),
		image("last entry wins", layer(file("a", "1"), file("a", "2"), dir("d"), file("d/x", "1"), file("d", "2"), symlink("l", "x"), dir("l"), file("l/y", "1"))),
	}
}

// whiteoutSamples remove things, also in the orders that builders do not write.
func whiteoutSamples() []sample {
	return []sample{
		image("whiteouts", layer(file("a", "1"), dir("d"), file("d/x", "1"), file("d/y", "1"), dir("e"), file("e/f", "1")), layer(whiteout(".wh.a"), dir("d"), whiteout("d/.wh.x"), whiteout(".wh.e"))),
		image("whiteout, then again above", layer(dir("d"), file("d/a", "1")), layer(whiteout(".wh.d")), layer(dir("d"), file("d/b", "3"))),
		image("whiteout then entries", layer(dir("foo"), file("foo/old", "1")), layer(whiteout(".wh.foo"), dir("foo"), file("foo/bar", "2"))).
			differs(containerd, opaqueMissing, `"foo/old" is a file, not absent`),
		image("whiteout then entries, parent not declared", layer(dir("foo"), file("foo/old", "1")), layer(whiteout(".wh.foo"), file("foo/bar", "2"))).
			differs(umoci, timeAbove, `"." mtime now, not 1614834367.123456789`).
			fails(containerd, "the whiteout is in the place of the directory", "not a directory"),
		image("entries then whiteout", layer(dir("foo"), file("foo/old", "1")), layer(dir("foo"), file("foo/bar", "2"), whiteout(".wh.foo"))).
			differs(umoci, timeRemoved, `"foo" mtime now, not 1614834367.123456789`).
			fails(containerd, whiteoutInTheWay, "file exists"),
		image("file then its whiteout", layer(file("foo", "1")), layer(file("foo", "2"), whiteout(".wh.foo"))).
			fails(containerd, whiteoutInTheWay, "file exists"),
		image("whiteout then file", layer(dir("foo"), file("foo/x", "1")), layer(whiteout(".wh.foo"), file("foo", "2"))),
		image("whiteout twice", layer(file("a", "1"), file("b", "1")), layer(whiteout(".wh.a"), whiteout(".wh.a"))).
			fails(containerd, whiteoutInTheWay, "file exists"),
		image("whiteout of nothing", layer(file("a", "1")), layer(whiteout(".wh.b"))),
		image("whiteout in a directory of its layer", layer(file("a", "1")), layer(dir("d"), file("d/x", "2"), whiteout("d/.wh.ghost"))).
			differs(containerd, whiteoutListed, `"d/ghost" is a name without a file, not absent`),
		image("whiteout of nothing in nothing", layer(file("a", "1")), layer(whiteout("no/such/.wh.c"))).
			differs(umoci, directoryImplied, `"no" is absent, not a dir`, `"no/such" is absent, not a dir`).
			differs(containerd, whiteoutListed, `"no/such/c" is a name without a file, not absent`),
		image("opaque", layer(dir("d"), file("d/a", "1"), dir("d/e"), file("d/e/f", "1")), layer(dir("d"), whiteout("d/.wh..wh..opq"), file("d/b", "2"))),
		image("opaque after siblings", layer(dir("d"), file("d/a", "1"), dir("d/e"), file("d/e/f", "1")), layer(dir("d"), file("d/b", "2"), dir("d/e"), file("d/e/g", "2"), whiteout("d/.wh..wh..opq"))).
			differs(umoci, timeRemoved, `"d/e" mtime now, not 1614834367.123456789`),
		image("opaque with whiteouts", layer(dir("d"), file("d/a", "1")), layer(dir("d"), whiteout("d/.wh.a"), whiteout("d/.wh..wh..opq"), file("d/b", "2"))).
			differs(containerd, whiteoutListed, `"d/a" is a name without a file, not absent`),
		image("opaque directory that is not there", layer(file("a", "1")), layer(whiteout("d/.wh..wh..opq"))).
			differs(umoci, directoryImplied, `"d" is absent, not a dir`),
		image("opaque root", layer(file("a", "1")), layer(whiteout(".wh..wh..opq"), file("b", "2")), layer(file("c", "3"))).
			differs(containerd, "overlayfs ignores the mark of the opaque directory on the root of a layer", `"a" is a file, not absent`),
	}
}

// hardLinkSamples have files with several names, in one layer and across layers.
func hardLinkSamples() []sample {
	return []sample{
		image("hard links", layer(file("a", "1", owner(5, 6)), link("b", "a", owner(5, 6)), dir("d"), link("d/c", "b", owner(5, 6)), symlink("s", "a"), link("s2", "s"), fifo("p"), link("p2", "p"))),
		image("hard link with metadata of its own", layer(file("a", "1", mode(0o600)), link("b", "a", mode(0o4755), owner(5, 6), at(time.Unix(1, 2))))).
			differs(containerd, linkHeader,
				`"a" mode 4755, not 600`, `"a" mtime 1.000000002, not 1614834367.123456789`, `"a" owner 5:6, not 0:0`,
				`"b" mode 4755, not 600`, `"b" mtime 1.000000002, not 1614834367.123456789`, `"b" owner 5:6, not 0:0`,
			),
		image("hard link to a lower file", layer(file("a", "1", mode(0o4711), owner(5, 6), xattr("user.k", "v"))), layer(link("b", "a"))).
			fails(containerd, linkInLayerOnly, "no such file or directory"),
		image("hard link to a lower file of two names", layer(file("a", "1"), link("a2", "a")), layer(link("b", "a"))).
			fails(containerd, linkInLayerOnly, "no such file or directory").
			differs(umoci, "overlayfs copies a file up under one name",
				`"a" links 3, not 2`, `"a" names [a a2 b], not [a b]`, `"a2" links 3, not 2`,
				`"a2" names [a a2 b], not []`, `"b" links 3, not 2`, `"b" names [a a2 b], not [a b]`,
			),
		image("hard link whose other name is removed", layer(file("a", "1"), link("b", "a")), layer(whiteout(".wh.a"))),
		image("hard link whose other name is replaced", layer(file("a", "1"), link("b", "a")), layer(file("a", "2"))),
		image("duplicate of a hard link", layer(file("a", "1", mode(0o600)), link("b", "a"), file("b", "2", mode(0o4755)))).
			differs(containerd, linkHeader, `"a" mode 644, not 600`),
	}
}

// metadataSamples are about all that a file has beside its content, and whose it is when a layer is silent.
func metadataSamples() []sample {
	tmp := dir("tmp", mode(0o1777), owner(1, 2), at(time.Unix(1000, 5)), xattr("user.k", "v"))
	return []sample{
		image("root not declared", []entry{file("a", "1")}, []entry{file("b", "1")}),
		image("root declared below only", []entry{dir("./", mode(0o711), owner(3, 4)), file("a", "1")}, []entry{file("b", "1")}),
		image("root declared twice", layer(file("a", "1")), []entry{dir("./", mode(0o700), owner(3, 4)), file("b", "1")}),
		image("implicit parent with a file", layer(tmp), layer(file("tmp/x", "2"))),
		image("implicit parent with a whiteout", layer(tmp, file("tmp/x", "1")), layer(whiteout("tmp/.wh.x"))),
		image("implicit parent with an opaque marker", layer(tmp, file("tmp/x", "1")), layer(whiteout("tmp/.wh..wh..opq"))),
		image("implicit parent with a hard link", layer(tmp), layer(file("f", "2"), link("tmp/x", "f"))),
		image("implicit parents that nobody declares", layer(file("a/b/x", "1")), layer(file("a/b/y", "2"))),
		image("attributes gone", layer(dir("d", xattr("user.k", "v")), file("f", "1", xattr("user.k", "v"))), layer(dir("d"), file("f", "1"))),
		image("devices", layer(char("null", 1, 3, mode(0o666)), block("disk", 259, 70000), fifo("p", mode(0o622)))),
		image("modes", layer(file("suid", "s", mode(0o6755), owner(1000, 100)), dir("sgid", mode(0o2775), owner(0, 50)), file("sgid/f", "", mode(0)), dir("sticky", mode(0o1777)), dir("closed", mode(0)))),
		image("owners", layer(file("f", "1", owner(wide(1<<31+5), wide(1<<31+6))), symlink("l", "f", owner(7, 8)), fifo("p", owner(7, 8)), dir("d", owner(9, 10)))),
		image("extended attributes", layer(file("f", "1", xattr("user.mime", "a\xff="), xattr("security.capability", capNetRaw)), dir("d", xattr("user.k", "v")), file("t", "1", xattr("trusted.k", "v")))).
			differs(umoci, "trusted attributes are for the programs of the machine, not of the image", `"t" xattrs [trusted.k="v"], not []`),
		image("SELinux attribute", layer(file("f", "1", xattr("security.selinux", "system_u:object_r:bin_t:s0\x00")))).
			differs(containerd, "the label is one of the policy where the image was built", `"f" xattrs [security.selinux="system_u:object_r:bin_t:s0\x00"], not []`),
		image("overlay attributes", layer(dir("d"), file("d/f", "1")), layer(dir("d", xattr("trusted.overlay.opaque", "y"), xattr("user.overlay.opaque", "y")))).
			differs(umoci, overlayControl, `"d" xattrs [user.overlay.opaque="y"], not []`).
			differs(containerd, overlayControl, `"d" xattrs [user.overlay.opaque="y"], not []`),
		image("times", layer(file("old", "1", at(time.Unix(-5, 7))), file("far", "1", at(time.Unix(1<<33, 999999999))), symlink("l", "x", at(time.Unix(5, 6))), dir("d", at(time.Unix(1, 999999999))), file("d/f", "1"), fifo("p", at(time.Unix(8, 9))))).
			differs(containerd, "times before 1970 become 1970", `"old" mtime 0.000000000, not -5.000000007`),
	}
}

// refusedSamples are attacks and nonsense. Each one keeps to its root also with an unpacker that falls for it.
func refusedSamples() []sample {
	return []sample{
		image("name above the root", layer(file("../../x", "1"))).refuse("climbs out"),
		image("entry below a symlink of its layer", layer(dir("d"), symlink("l", "d"), file("l/x", "1"))),
		image("entry below a file of its layer", layer(file("p", "1"), file("p/c", "1"))).refuse("not a directory").
			fails(umoci, bothRefuse, "not a directory").
			fails(containerd, bothRefuse, "not a directory"),
		image("root as a symlink", []entry{symlink("./", "/tmp"), file("x", "1")}).refuse("root of a layer must be a directory").
			fails(umoci, bothRefuse, "refusing to change type of root directory"),
		image("hard link to a file of the machine", layer(link("x", "/etc/shadow"))).refuse("neither this layer nor one below").
			fails(umoci, bothRefuse, "no such file or directory").
			fails(containerd, bothRefuse, "no such file or directory"),
		image("hard link to a directory", layer(dir("d"), link("x", "d"))).refuse("is a directory").
			fails(umoci, bothRefuse, "operation not permitted").
			fails(containerd, bothRefuse, "operation not permitted"),
		// umoci removes d/.., its root directory. One directory higher that would be the parent of its root.
		image("whiteout of the parent", layer(dir("d"), file("d/f", "1")), layer(dir("d"), whiteout("d/.wh..."))).refuse("invalid whiteout").
			fails(umoci, "it removes the whole root directory", "no such file or directory").
			fails(containerd, bothRefuse, "invalid whiteout name"),
		image("whiteout of the directory", layer(dir("d"), file("d/f", "1")), layer(dir("d"), whiteout("d/.wh.."))).refuse("invalid whiteout").
			fails(containerd, bothRefuse, "invalid whiteout name"),
		image("smuggled whiteout", layer(file("a", "1")), layer(char("a", 0, 0))).refuse("device 0:0"),
		image("broken capability", layer(file("f", "1", xattr("security.capability", "junk")))).refuse("invalid argument").
			fails(umoci, bothRefuse, "invalid argument").
			fails(containerd, bothRefuse, "invalid argument"),
	}
}
