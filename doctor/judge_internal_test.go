package doctor

import (
	"strings"
	"testing"
)

func TestVersionsOfRuntimes(t *testing.T) {
	for _, test := range []struct {
		about string
		state State
		has   string
	}{
		{"runc version 1.1.5+ds1\nlibseccomp: 2.5.4", Warn, "CVE-2025-31133"},
		{"runc version 1.2.7\nlibseccomp: 2.5.4", Warn, "CVE-2025-52565"},
		{"runc version 1.2.8\nlibseccomp: 2.5.4", OK, ""},
		{"runc version 1.3.2\nlibseccomp: 2.5.4", Warn, "CVE-2025-52881"},
		{"runc version 1.3.3\nlibseccomp: 2.5.4", Warn, "CVE-2026-41579"},
		{"runc version 1.3.6\nlibseccomp: 2.5.4", OK, ""},
		{"runc version 1.4.0-rc.2\nlibseccomp: 2.5.4", Warn, "CVE-2025-31133"},
		{"runc version 1.4.0-rc.3\nlibseccomp: 2.5.4", OK, ""},
		{"runc version 1.4.0\nlibseccomp: 2.5.4", OK, ""},
		{"runc version 2.0.0\nlibseccomp: 2.5.4", OK, ""},
		{"runc version 1.4.0\nspec: 1.2.1", Fail, "without seccomp"},
		{"runc version unknown\nlibseccomp: 2.5.4", OK, "unknown"},
	} {
		if r := judgeRuntime("/usr/sbin/runc", test.about); r.State != test.state || !strings.Contains(r.Detail, test.has) {
			t.Errorf("%q: got %+v", test.about, r)
		}
	}
	if r := judgeRuntime("/usr/bin/crun", "crun version 1.8.1\ncommit: x"); r.State != OK {
		t.Errorf("got %+v", r)
	}
}

func TestSpaceThatIsLeft(t *testing.T) {
	for _, test := range []struct {
		bytes, inodes int64
		counted       bool
		want          State
	}{
		{10 << 30, 1 << 20, true, OK},
		{10 << 30, 0, false, OK},
		{1 << 30, 1 << 20, true, Warn},
		{10 << 30, 2000, true, Warn},
		{1 << 20, 1 << 20, true, Fail},
		{10 << 30, 10, true, Fail},
	} {
		if r := judgeSpace(test.bytes, test.inodes, test.counted); r.State != test.want {
			t.Errorf("%+v: got %+v", test, r)
		}
	}
}

func TestProgramThatIsTiny(t *testing.T) {
	program, ok := tinyProgram(7)
	if !ok || len(program) > 200 || string(program[1:4]) != "ELF" {
		t.Errorf("got %d bytes, %v", len(program), ok)
	}
}
