package unpack_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/fixtures"
	"github.com/stepexec/stepexec/unpack"
)

// richSample is a real tree in three layers: GNU tar's archive of it, and what two shell scripts changed in it
// through overlayfs.
func richSample(t *testing.T, format unpack.Format) sample {
	t.Helper()
	base := richTree(t)
	archive := filepath.Join(plainDir(t), "base.tar")
	runTar(t, []string{
		"--create", "--file", archive, "--directory", base, "--numeric-owner", "--sparse",
		"--format=posix", "--xattrs", "--xattrs-include=*", "--acls", ".",
	})
	first, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	upper, second := changed(t, []string{base}, `
		rm -r etc/apt etc/passwd long
		mkdir etc/apt etc/new etc/new/deep
		echo new >etc/apt/sources.list
		cp -a etc/ssl etc/new
		echo more >>etc/group
		chmod 700 etc/ssh* etc/default
		chown -R 12:34 etc/cron.d
		rm closed/f && echo closed >closed/g
		mkfifo etc/new/pipe && mknod etc/new/zero c 1 5
		ln -s ../x etc/new/link
		rm -r sticky && echo file >sticky
		rm dangling && mkdir dangling && echo x >dangling/x`)
	_, third := changed(t, []string{base, upper}, `
		rm -r etc/new/deep etc/default
		mkdir etc/default && chmod 1777 etc/default
		rm sticky && mkdir sticky && touch -d @1234567890.987654321 sticky
		rm -r dangling && ln -s / dangling
		rm etc/hostname; echo h >etc/hostname
		touch -d @1000000000 etc/new/ssl etc/new/zero
		truncate -s 3M holes-only`)
	s := image("rich tree", []entry{{raw: first}}, []entry{{raw: second}}, []entry{{raw: third}})
	if format == unpack.FormatErofs {
		return s // EROFS keeps holes, but Linux does not show them
	}
	const dense, holes = "holes are written as zeros", `"sparse" holes false, not true`
	return s.differs(umoci, dense, holes).differs(containerd, dense, holes)
}

// changed runs a shell script in an overlay mount of the lowerdirs and returns what it changed.
func changed(t *testing.T, lowerdirs []string, script string) (upper string, layer []byte) {
	t.Helper()
	base := plainDir(t)
	merged, upper, work := filepath.Join(base, "merged"), filepath.Join(base, "upper"), filepath.Join(base, "work")
	for _, d := range []string{merged, upper, work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	lower := lowerdirs[0]
	for _, d := range lowerdirs[1:] {
		lower = d + ":" + lower
	}
	options := "index=off,redirect_dir=off,metacopy=off,lowerdir=" + lower + ",upperdir=" + upper + ",workdir=" + work
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		t.Fatalf("mount overlay %s: %v", options, err)
	}
	defer func() {
		if err := unix.Unmount(merged, 0); err != nil {
			t.Errorf("unmount %s: %v", merged, err)
		}
	}()
	cmd := exec.Command("/bin/sh", "-euc", script)
	cmd.Dir = merged
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("change the tree: %v\n%s", err, out)
	}
	var data bytes.Buffer
	if err := fixtures.TarUpper(&data, upper); err != nil {
		t.Fatal(err)
	}
	return upper, data.Bytes()
}
