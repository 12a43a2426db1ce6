package foreign

const (
	climbs    = "a name, or target of a hard link, that climbs above the root is refused, as docker does"
	lowerLink = "a link of a lower layer is not followed: a directory hides it, as docker's overlay2 and podman do"
)

// differences are the tests, as SUITE/TEST, that stepexec does not pass, and the reasons.
var differences = map[string]string{
	"containerd/TestBreakouts/HardlinkDirectRelative": climbs,
	"containerd/TestBreakouts/SymlinkParentDirectory": climbs,
	"containerd/TestBreakouts/SymlinkEmptyFilename":   "an entry without a name is refused; containerd takes it for the root and ignores it",
	"containerd/TestBreakouts/WhiteoutDirectoryName":  "an entry in a folder that is named like a whiteout is refused: no image can have that folder",
	"containerd/TestBreakouts/WhiteoutSymlinkPath":    lowerLink,
	"containerd/TestTarWithXattr/WithXattrSelinux":    "labels of SELinux are those of the machine, not of the image",

	"umoci/TestUnpackEntrySanitiseScoping/DotDotPrefix":  climbs,
	"umoci/TestUnpackEntrySanitiseScoping/GarbagePrefix": climbs,
	"umoci/TestUnpackHardlink":                           climbs,
	"umoci/TestUnpackEntryNonDirParent":                  "an entry below a file of the same layer is refused, as docker and containerd do",
	"umoci/TestUnpackEntrySymlinkScoping/RootPrefix":     lowerLink,
	"umoci/TestUnpackEntrySymlinkScoping/DotDotPrefix":   lowerLink,
	"umoci/TestUnpackEntrySymlinkScoping/GarbagePrefix1": lowerLink,
	"umoci/TestUnpackEntrySymlinkScoping/GarbagePrefix2": lowerLink,
	"umoci/TestUnpackEntrySymlinkScoping/GarbagePrefix3": lowerLink,

	"ggcr/TestExtractRoundTrip":                                `the tree is the same; GNU tar, which packs it here, ends names of folders with "/" and takes another name of a file for the first`,
	"ggcr/TestExtractSymlinkFiltering":                         "symbolic links keep their targets: whoever follows one inside a container stays there",
	"ggcr/TestExtractRejectsUnsafeArchivePaths/.":              "a root that is no folder is refused; there it is ignored",
	`ggcr/TestExtractRejectsUnsafeArchivePaths/..\..\tmp\evil`: "a backslash is a letter like others on Linux",
}
