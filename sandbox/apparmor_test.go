package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The kernel's files as a host with AppArmor shows them; few kernels that tests
// run on have it.
func TestAppArmorProfileMustBeLoaded(t *testing.T) {
	const profiles = "docker-default (enforce)\n/usr/bin/man (enforce)\nname with (brackets) (complain)\n"
	tests := []struct{ enabled, name, profile, err string }{
		{"Y\n", "", "", ""},
		{"Y\n", "docker-default", "docker-default", ""},
		{"Y\n", "name with (brackets)", "name with (brackets)", ""},
		{"Y\n", "unconfined", "unconfined", ""},
		{"Y\n", "docker", "", "apparmor docker: the profile is not loaded on this host (apparmor_parser -r FILE loads it"},
		{"N\n", "docker-default", "", "runs without AppArmor"},
		{"N\n", "unconfined", "", ""},
		{"", "docker-default", "", "runs without AppArmor"},
		{"", "", "", ""},
	}
	for _, test := range tests {
		sys := t.TempDir()
		files := map[string]string{"kernel/security/apparmor/profiles": profiles}
		if test.enabled != "" {
			files["module/apparmor/parameters/enabled"] = test.enabled
		}
		for name, text := range files {
			path := filepath.Join(sys, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		profile, err := appArmorProfile(test.name, sys)
		if profile != test.profile || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%q with AppArmor %q is %q, %v; want %q, %q", test.name, test.enabled, profile, err, test.profile, test.err)
		}
	}
}
