package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUserLinesWithoutNumbersAreLeftOut(t *testing.T) {
	const file = "root:x:0:0::/root:/bin/sh\nempty:x::1000::/:\nword:x:zero:0\nnegative:x:-1:0\nshort:x:7\ngood:x:7:8:::\n\nhuge:x:4294967296:0\n"
	if got, want := string(wellFormed([]byte(file), 2, 3)), "root:x:0:0::/root:/bin/sh\ngood:x:7:8:::\nhuge:x:4294967296:0\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzLookupUser(f *testing.F) {
	f.Add("builder", "builder:x:1000:1000::/home/builder:/bin/sh\n", "tools:x:1500:builder\n")
	f.Add("4294967296", "4294967296:x:0:0\n", "")
	f.Add("a:b", "a:x::0\n", "b:x:\n")
	f.Fuzz(func(t *testing.T, name, passwd, group string) {
		rootfs := t.TempDir()
		if err := os.Mkdir(filepath.Join(rootfs, "etc"), 0o755); err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{"passwd": passwd, "group": group} {
			if err := os.WriteFile(filepath.Join(rootfs, "etc", file), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		who, err := lookupUser(rootfs, name)
		if err != nil {
			return
		}
		if who.Uid < 0 || who.Gid < 0 || who.Home == "" {
			t.Errorf("%q is %+v", name, who)
		}
		user, _, _ := strings.Cut(name, ":")
		asked := user == "" || strings.Trim(user, "+-0") == ""
		if who.Uid == 0 && !asked && !strings.Contains(passwd, ":0") {
			t.Errorf("%q is root, by %q", name, passwd)
		}
	})
}
