package forkserver

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestARequestIsReadAsItWasWritten(t *testing.T) {
	for name, want := range map[string]Request{
		"one word":       {Dir: "/", Args: []string{"true"}},
		"empty words":    {Dir: "/tmp", Args: []string{"sh", "", "-c", ""}, Env: []string{"A=", "B=\n=", "C= "}},
		"much":           {Dir: "/", Args: []string{strings.Repeat("x", 1<<20)}, Env: []string{"A=" + strings.Repeat("y", 2<<20)}},
		"many variables": {Dir: "/", Args: []string{"a"}, Env: strings.Fields(strings.Repeat("A=1 ", 1000))},
	} {
		data, ok := want.Encode()
		if !ok {
			t.Errorf("%s: refused", name)
			continue
		}
		size, body, ok := cutNumber(data)
		if !ok || size != len(body) {
			t.Errorf("%s: the size is %d, and %d bytes follow", name, size, len(body))
		}
		got, err := parse(body)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got, cmp.Transformer("", func(all []string) string { return strings.Join(all, "|") })); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestWhatARuntimeWouldJudgeIsNoRequest(t *testing.T) {
	for name, r := range map[string]Request{
		"no command":             {Dir: "/"},
		"no directory":           {Args: []string{"true"}},
		"relative directory":     {Dir: "tmp", Args: []string{"true"}},
		"zero byte":              {Dir: "/", Args: []string{"a\x00b"}},
		"variable without value": {Dir: "/", Args: []string{"true"}, Env: []string{"A"}},
		"variable without name":  {Dir: "/", Args: []string{"true"}, Env: []string{"=A"}},
		"too much":               {Dir: "/", Args: []string{"true", strings.Repeat("x", maxRequest)}},
	} {
		if data, ok := r.Encode(); ok {
			t.Errorf("%s is encoded as %.50q", name, data)
		}
	}
}

func TestTheProgramIsFoundInThePathOfItsEnvironment(t *testing.T) {
	dir := t.TempDir()
	here := t.TempDir()
	if err := os.Mkdir(here+"/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{
		dir + "/plain": 0o644, dir + "/program": 0o755, dir + "/local": 0o755, dir + "/tool": 0o755, here + "/local": 0o755, here + "/bin/tool": 0o755,
	} {
		if err := os.WriteFile(name, []byte("x"), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ path, command, want string }{
		{dir, "program", dir + "/program"},
		{"/none:" + dir, "program", dir + "/program"},
		{dir + ":", "program", dir + "/program"},
		{dir, "plain", ""},
		{"/:" + dir[:strings.LastIndex(dir, "/")], dir[strings.LastIndex(dir, "/")+1:], ""}, // a folder
		{"/none:", "program", ""},
		{":none:" + dir, "program", dir + "/program"},
		{":" + dir, "local", ""}, // in the working directory
		{"bin:" + dir, "tool", ""},
		{"", "program", ""},
		{"", "./program", "./program"},
		{"", "/x/y", "/x/y"},
	} {
		got, ok := find(&Request{Dir: here, Args: []string{test.command}, Env: []string{"PATHS=/bin", "PATH=" + test.path}})
		if ok != (test.want != "") || ok && got != test.want {
			t.Errorf("%q in %q: got %q, %v; want %q", test.command, test.path, got, ok, test.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	data, _ := (&Request{Dir: "/", Args: []string{"sh", ""}, Env: []string{"A=1"}}).Encode()
	f.Add(data[wordSize:])
	f.Add([]byte{1, 0, 0, 0, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parse(data)
		if err != nil {
			return
		}
		if len(r.Args) == 0 {
			t.Fatal("a request without a command")
		}
		if again, ok := r.Encode(); ok && !bytes.Equal(again[wordSize:], data) {
			t.Fatalf("%q is written as %q", data, again[wordSize:])
		}
	})
}
