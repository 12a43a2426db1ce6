package settings_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/settings"
)

func FuzzParse(f *testing.F) {
	f.Add([]byte("registries:\n  docker.io: {mirrors: [m.example:5000, c.example/hub]}\n  m.example:5000: {ca: c.pem, stall_timeout: 2m}"))
	f.Add([]byte("registries: {a.example: &a {http: true}, b.example: *a}"))
	f.Add([]byte("registries:\n  ? [a]\n  : {<<: 1}\n---\n"))
	f.Add([]byte("registries: {[::1]:5000: {cert: a, key: !!binary aGk=, connect_timeout: 0x5}}"))
	f.Add([]byte("store_limit: 20GB\nlayer_format: erofs\nlimits: {layer_bytes: 1.5GiB, layer_entries: 5000000, layer_ratio: 010}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := settings.Parse("dir/file.yml", data)
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, "dir/file.yml:") || strings.ContainsFunc(strings.TrimSuffix(line, "\n"), unicode.IsControl) {
					t.Fatalf("error %q", line)
				}
			}
			return
		}
		if s.StoreLimit < 0 || s.Limits.Bytes < 0 || s.Limits.Entries < 0 || s.Limits.Ratio < 0 {
			t.Fatalf("%+v", s)
		}
		if s.Registries == nil {
			return
		}
		for host, h := range s.Registries.Hosts {
			if key, err := pull.HostKey(host); err != nil || key != host || (h.Cert == "") != (h.Key == "") || h.HTTP && h.SkipVerify {
				t.Fatalf("%q: %+v", host, h)
			}
			for _, mirror := range h.Mirrors {
				ref, err := pull.ParseReference(mirror + "/x")
				if err != nil || ref.Scheme != pull.SchemeRegistry {
					t.Fatalf("mirror %q: %v", mirror, err)
				}
			}
		}
	})
}
