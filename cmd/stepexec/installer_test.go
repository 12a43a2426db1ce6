package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestInstaller runs install.sh against releases on a server. Nothing may be installed if anything is
// wrong with one.
func TestInstaller(t *testing.T) {
	const name = "stepexec-1.2.3-linux-amd64"
	archive := releaseArchive(t, name)
	sums := fmt.Sprintf("%x  %s.tar.gz\n%x  %[2]s.cdx.json\n", sha256.Sum256(archive), name, sha256.Sum256(nil))
	whole := map[string]string{"SHA256SUMS": sums, name + ".tar.gz": string(archive)}
	for _, test := range []struct {
		name    string
		args    []string
		release map[string]string
		machine string
		prefix  string // in a fresh folder
		want    string // in the output
		fails   bool
	}{
		{name: "right sum", args: []string{"1.2.3"}, release: whole, want: "stepexec of the test"},
		{name: "version with a v", args: []string{"v1.2.3"}, release: whole, want: "stepexec of the test"},
		{name: "prefix with a space", args: []string{"1.2.3"}, release: whole, prefix: "my tools/usr", want: "stepexec of the test"},
		{name: "wrong sum", args: []string{"1.2.3"}, release: map[string]string{"SHA256SUMS": sums, name + ".tar.gz": string(archive) + "x"},
			want: "the checksum of " + name + ".tar.gz is wrong: nothing is installed", fails: true},
		{name: "half an archive", args: []string{"1.2.3"}, release: map[string]string{"SHA256SUMS": sums, name + ".tar.gz": string(archive[:len(archive)/2])},
			want: "the checksum of " + name + ".tar.gz is wrong: nothing is installed", fails: true},
		{name: "no archive", args: []string{"1.2.3"}, release: map[string]string{"SHA256SUMS": sums}, want: "cannot fetch ", fails: true},
		{name: "no sums", args: []string{"1.2.3"}, release: map[string]string{name + ".tar.gz": string(archive)}, want: "cannot fetch ", fails: true},
		{name: "sums without the archive", args: []string{"1.2.3"}, release: map[string]string{"SHA256SUMS": strings.ReplaceAll(sums, name+".tar", "x"+name+".tar"), name + ".tar.gz": string(archive)},
			want: "SHA256SUMS does not have " + name + ".tar.gz", fails: true},
		{name: "no such release", args: []string{"9.9.9"}, release: whole, want: "cannot fetch ", fails: true},
		{name: "unknown machine", args: []string{"1.2.3"}, release: whole, machine: "vax", want: "there is no release for vax (build it: go install ", fails: true},
		{name: "a prefix that cannot be made", args: []string{"1.2.3"}, release: whole, prefix: "file/usr", want: "file", fails: true},
		{name: "no version", release: whole, want: "usage: sh install.sh VERSION", fails: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				data, ok := test.release[filepath.Base(r.URL.Path)]
				if !ok {
					w.WriteHeader(http.StatusNotFound)
				}
				_, _ = w.Write([]byte(data))
			}))
			defer server.Close()
			folder := t.TempDir()
			writeExecutable(t, filepath.Join(folder, "file"), "")
			if test.machine == "" {
				test.machine = "x86_64"
			}
			writeExecutable(t, filepath.Join(folder, "programs/uname"), fmt.Sprintf("#!/bin/sh\n[ \"$1\" = -s ] && echo Linux || echo %s\n", test.machine))
			prefix := filepath.Join(folder, test.prefix, "installed")
			cmd := exec.CommandContext(t.Context(), "sh", append([]string{"../../install.sh"}, test.args...)...)
			cmd.Env = append(os.Environ(), "PREFIX="+prefix, "STEPEXEC_RELEASES="+server.URL, "TMPDIR="+folder,
				"PATH="+filepath.Join(folder, "programs")+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if (err != nil) != test.fails || !strings.Contains(string(out), test.want) {
				t.Errorf("%v, want %q in:\n%s", err, test.want, out)
			}
			if left, _ := filepath.Glob(filepath.Join(folder, "tmp.*")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
			var want []string
			if !test.fails {
				want = []string{"bin/stepexec", "share/bash-completion/completions/stepexec", "share/fish/vendor_completions.d/stepexec.fish",
					"share/man/man1/stepexec.1", "share/zsh/site-functions/_stepexec"}
			}
			if got := filesBelow(t, prefix); !slices.Equal(got, want) {
				t.Errorf("installed are %q, want %q", got, want)
			}
		})
	}
}

// releaseArchive returns the archive of a release whose program only says a line.
func releaseArchive(t *testing.T, name string) []byte {
	t.Helper()
	var archive bytes.Buffer
	packed := gzip.NewWriter(&archive)
	files := tar.NewWriter(packed)
	for _, file := range []struct{ name, content string }{
		{"stepexec", "#!/bin/sh\necho stepexec of the test\n"},
		{"man/stepexec.1", ""},
		{"completion/stepexec.bash", ""}, {"completion/_stepexec", ""}, {"completion/stepexec.fish", ""},
	} {
		header := &tar.Header{Name: name + "/" + file.name, Mode: 0o755, Size: int64(len(file.content))}
		if err := files.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := files.Write([]byte(file.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	if err := packed.Close(); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

func writeExecutable(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
}

// filesBelow returns the files below a folder, sorted; none if there is no folder.
func filesBelow(t *testing.T, folder string) (files []string) {
	t.Helper()
	if _, err := os.Stat(folder); err != nil {
		return nil
	}
	err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, strings.TrimPrefix(path, folder+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
