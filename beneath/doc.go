// Package beneath uses files in directories that strangers write to.
//
// A step may put a link anywhere in its workspace, and swap a folder for a link
// at any moment. A path that was checked a moment ago may therefore lead to any
// file of the host when it is used (CVE-2017-1002101, CVE-2024-1753). This
// package has the kernel resolve such a path once, beneath the directory that it
// must not leave (openat2(2), RESOLVE_BENEATH), and hands on what was opened: a
// descriptor, or a mount of it. Walk and RemoveAll never follow a link either,
// and need few descriptors and little stack however deep the tree is.
package beneath
