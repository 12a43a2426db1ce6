package woodpecker

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A step runs whatever its home is, and has a .netrc of its own where it can.
func TestNetrcGoesToAHomeThatCanBeWrittenTo(t *testing.T) {
	folder := t.TempDir()
	script, file := filepath.Join(folder, "script"), filepath.Join(folder, "file")
	const content = "machine git.example\nlogin bot\npassword secret\n"
	for path, text := range map[string]string{script: "echo ran\n", file: ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, home := range []string{"(unset)", "", folder, "/dev/null", file, filepath.Join(folder, "nothing"), "/proc", "/sys"} {
		env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}
		if home == "(unset)" {
			env = env[:1]
		}
		command := exec.Command("/bin/sh", "-e", "-c", netrc+`. "$0"`, script)
		command.Env = append(env, "CI_NETRC_MACHINE=git.example", "CI_NETRC_USERNAME=bot", "CI_NETRC_PASSWORD=secret")
		output, err := command.Output()
		if err != nil || string(output) != "ran\n" {
			t.Errorf("HOME=%s: %q, %v", home, output, err)
		}
	}
	data, err := os.ReadFile(filepath.Join(folder, ".netrc"))
	if err != nil || string(data) != content {
		t.Errorf("%q, %v", data, err)
	}
}
