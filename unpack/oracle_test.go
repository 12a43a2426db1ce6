package unpack_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// A real tree, archived by GNU tar in each of its formats, unpacks to what GNU tar itself unpacks.
func TestEqualsGNUTar(t *testing.T) {
	needRoot(t)
	source := richTree(t)
	for _, format := range []string{"posix", "gnu", "pax-sparse", "oldgnu"} {
		t.Run(format, func(t *testing.T) {
			archive := filepath.Join(plainDir(t), "rich.tar")
			args := []string{"--create", "--file", archive, "--directory", source, "--numeric-owner", "--sparse"}
			switch format {
			case "posix":
				args = append(args, "--format=posix", "--xattrs", "--xattrs-include=*", "--acls")
			case "pax-sparse":
				args = append(args, "--format=posix", "--sparse-version=0.1")
			default:
				args = append(args, "--format="+format)
			}
			runTar(t, append(args, "."))
			reference := plainDir(t)
			runTar(t, []string{
				"--extract", "--file", archive, "--directory", reference, "--numeric-owner", "--same-owner",
				"--preserve-permissions", "--xattrs", "--xattrs-include=*", "--acls", "--delay-directory-restore",
			})
			data, err := os.ReadFile(archive)
			if err != nil {
				t.Fatal(err)
			}
			got := snapshot(t, unpackAll(t, streamLayer(data, gzipped(t, data)))[0])
			if len(got) < 500 {
				t.Fatalf("only %d files: the tree is not rich", len(got))
			}
			if diff := cmp.Diff(snapshot(t, reference), got); diff != "" {
				t.Errorf("differs (-GNU tar +unpack):\n%s", diff)
			}
		})
	}
}

func runTar(tb testing.TB, args []string) {
	tb.Helper()
	cmd := exec.Command("tar", args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("tar %v: %v\n%s", args, err, out)
	}
}

// richTree is a copy of the machine's /etc, with one of everything that /etc lacks.
func richTree(tb testing.TB) string {
	tb.Helper()
	root := plainDir(tb)
	if out, err := exec.Command("cp", "--archive", "/etc", root).CombinedOutput(); err != nil {
		tb.Fatalf("copy /etc: %v\n%s", err, out)
	}
	at := func(name string) string { return filepath.Join(root, name) }
	long := "long"
	for range 6 {
		long = filepath.Join(long, fmt.Sprintf("%0120d", 7))
	}
	steps := []error{
		os.MkdirAll(at(long), 0o755),
		os.WriteFile(at(long+"/f"), []byte("deep"), 0o640),
		os.WriteFile(at("suid"), []byte("s"), 0o755),
		os.Chown(at("suid"), 1000, 100),
		unix.Chmod(at("suid"), 0o6755),
		os.Mkdir(at("sticky"), 0o777),
		unix.Chmod(at("sticky"), 0o1777),
		os.Mkdir(at("closed"), 0o755),
		os.WriteFile(at("closed/f"), nil, 0o600),
		unix.Chmod(at("closed"), 0),
		unix.Mknod(at("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
		unix.Mknod(at("disk"), unix.S_IFBLK|0o660, int(unix.Mkdev(259, 70000))),
		unix.Mkfifo(at("pipe"), 0o622),
		os.Link(at("suid"), at("suid-too")),
		os.Symlink("/nowhere/"+long, at("dangling")),
		os.Link(at("dangling"), at("dangling-too")),
		os.WriteFile(at("new\nline\x1b[31m\xff"), []byte("odd name"), 0o644),
		os.WriteFile(at("attrs"), []byte("x"), 0o755),
		unix.Setxattr(at("attrs"), "user.mime", []byte("a\x00b\xff="), 0),
		unix.Setxattr(at("attrs"), "security.capability", []byte(capNetRaw), 0),
		unix.Setxattr(at("sticky"), "user.on", []byte("directory"), 0),
		writeSparse(at("sparse"), 32<<20),
		writeSparse(at("holes-only"), 0),
		os.Chtimes(at("attrs"), time.Unix(5, 6), time.Unix(1234567890, 987654321)),
		os.Chtimes(at("sticky"), time.Unix(5, 6), time.Unix(1e9, 1)),
	}
	for i, err := range steps {
		if err != nil {
			tb.Fatalf("rich tree, step %d: %v", i, err)
		}
	}
	return root
}

// writeSparse makes a file with data at its start, in the middle, and a hole at its end.
func writeSparse(path string, middle int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if middle > 0 {
		if _, err := f.WriteAt([]byte("start"), 0); err != nil {
			return err
		}
		if _, err := f.WriteAt([]byte("middle"), middle-3); err != nil {
			return err
		}
		return nil
	}
	return f.Truncate(5 << 20)
}
