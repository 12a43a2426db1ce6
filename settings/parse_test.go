package settings_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/pull"
	"github.com/stepexec/stepexec/settings"
	"github.com/stepexec/stepexec/unpack"
)

func TestParse(t *testing.T) {
	hosts := func(hosts map[string]pull.Host) settings.Settings {
		return settings.Settings{Registries: &pull.Registries{Hosts: hosts}}
	}
	for _, c := range []struct {
		name, yaml string
		want       settings.Settings
	}{
		{"empty", "", settings.Settings{}},
		{"a comment", "# nothing yet\n", settings.Settings{}},
		{"nothing below", "registries:\nlimits:\n", hosts(map[string]pull.Host{})},
		{"a host without settings", "registries:\n  registry.example:\n", hosts(map[string]pull.Host{"registry.example": {}})},
		{"the store", "store_limit: 20GB\nlayer_format: directories", settings.Settings{
			StoreLimit: 20e9, LayerFormat: unpack.FormatDirectories,
		}},
		{"no limit", "store_limit: none", settings.Settings{}},
		{"limits", "limits: {layer_bytes: 1.5GiB, layer_entries: 1000, layer_ratio: 50}", settings.Settings{
			Limits: unpack.Limits{Bytes: 3 << 29, Entries: 1000, Ratio: 50},
		}},
		{"caches", "cache_limit: 5GB\ncache_key: cache.key", settings.Settings{CacheLimit: 5e9, CacheKey: "/etc/stepexec/cache.key"}},
		{"output", "output_limit: 200MB", settings.Settings{OutputLimit: 200e6}},
		{"the runtime's calls", "runtime_calls: true", settings.Settings{RuntimeCalls: true}},
		{"credentials", "pull_credentials: shared", settings.Settings{PullCredentials: settings.SharedCredentials}},
		{"history", "history: {keep: 20, max_age: 7d, max_size: 200MB, max_artifacts: 20MB}", settings.Settings{
			History: settings.History{Keep: 20, MaxAge: 7 * 24 * time.Hour, MaxSize: 200e6, Artifacts: 20e6},
		}},
		{"registries", `
registries:
  docker.io:
    mirrors: [mirror.example:5000, "cache.example/docker-hub"]
  Mirror.example:5000:
    ca: ca.pem
    cert: /abs/client.pem
    key: ../client.key
    skip_verify: false
    connect_timeout: 1500ms
    stall_timeout: 90
  "[::1]:5000":
    http: true
`, hosts(map[string]pull.Host{
			"docker.io": {Mirrors: []string{"mirror.example:5000", "cache.example/docker-hub"}},
			"mirror.example:5000": {
				CA: "/etc/stepexec/ca.pem", Cert: "/abs/client.pem", Key: "/etc/client.key",
				ConnectTimeout: 1500 * time.Millisecond, StallTimeout: 90 * time.Second,
			},
			"[::1]:5000": {HTTP: true},
		})},
		{"a cache before the mirrors", "registries: {docker.io: {mirrors: [m.example], cache: c.example:5000}, b.example: {cache: c.example/b, mirrors: [m.example]}}",
			hosts(map[string]pull.Host{
				"docker.io": {Mirrors: []string{"c.example:5000", "m.example"}}, "b.example": {Mirrors: []string{"c.example/b", "m.example"}},
			})},
		{"private targets", `registries: {a.example: {allow_private: [minio.internal, "b.example:9000", 10.1.0.0/16, "fd00::1"]}, b.example: {allow_private: true}, c.example: {allow_private: false}}`,
			hosts(map[string]pull.Host{
				"a.example": {AllowPrivate: pull.Targets{Hosts: []string{"minio.internal", "b.example:9000", "10.1.0.0/16", "fd00::1"}}},
				"b.example": {AllowPrivate: pull.Targets{Any: true}}, "c.example": {},
			})},
		{"another name of docker.io", "registries: {registry-1.docker.io: {skip_verify: true}}",
			hosts(map[string]pull.Host{"docker.io": {SkipVerify: true}})},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := settings.Parse("/etc/stepexec/settings.yml", []byte(c.yaml))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseSaysWhatIsWrongAndWhere(t *testing.T) {
	host := func(setting string) string { return "registries:\n  a.example:\n    " + setting + "\n" }
	for _, c := range []struct{ name, yaml, want string }{
		{"not YAML", "registries: [", "s.yml:1:13: not valid YAML: the [ is not closed"},
		{"not YAML, further down", "registries:\n  a.example: {}\n\tb: 1\n", "s.yml:3:1: not valid YAML: "},
		{"not UTF-8", "registries: \xff", "s.yml:1:1: not valid YAML: "},
		{"two documents", "registries:\n---\nregistries:\n", "s.yml:2:1: the file has more than one document"},
		{"too large", strings.Repeat("#", 1<<20+1), "s.yml:1:1: the file is larger than 1048576 bytes"},
		{"a list", "- a", "s.yml:1:1: want a map, not a list"},
		{"a string", "registries", `s.yml:1:1: want a map, not "registries"`},
		{"credentials of nobody", "pull_credentials: none", `s.yml:1:19: "none" must be verify or shared`},
		{"unknown key", "colour: red", `s.yml:1:1: unknown key "colour" (want cache_key, cache_limit, history, layer_format, limits, output_limit, pull_credentials, registries, runtime_calls, store_limit, verify_images)`},
		{"a letter that is missing", "limits: {}\nregistres: {}", `s.yml:2:1: unknown key "registres" (did you mean "registries"?)`},
		{"a letter too many", "llimits: {}", `s.yml:1:1: unknown key "llimits" (did you mean "limits"?)`},
		{"a wrong letter", "store-limit: 1GB", `s.yml:1:1: unknown key "store-limit" (did you mean "store_limit"?)`},
		{"swapped letters", "limist: {}", `s.yml:1:1: unknown key "limist" (did you mean "limits"?)`},
		{"a key twice", "limits: {}\nlimits: {}", `s.yml:2:1: key "limits" is given twice, first at line 1`},
		{"control character", "\"c\\ra\\x1b[2J\": 1", `s.yml:1:1: unknown key "c\ra\x1b[2J"`},

		{"limit without a unit", "store_limit: 20", `s.yml:1:14: want a size with its unit, such as 500MB, 20GB or 256GiB, or none, not "20"`},
		{"limit of nothing", "store_limit: 0GB", "s.yml:1:14: a size of 0GB is out of range"},
		{"limit below nothing", "store_limit: -1GB", "s.yml:1:14: want a size with its unit"},
		{"limit beyond everything", "store_limit: 999999999999999TB", "s.yml:1:14: a size of 999999999999999TB is out of range"},
		{"limit that is infinite", "store_limit: infGB", "s.yml:1:14: want a size"},
		{"limit with no value", "store_limit:", "s.yml:1:13: want a value, not nothing"},
		{"limit that is a list", "store_limit: [1GB]", "s.yml:1:14: want a value, not a list"},
		{"unknown format", "layer_format: ext4", `s.yml:1:15: layer format "ext4": must be auto, directories or erofs`},
		{"calls that are no truth value", "runtime_calls: yes", `s.yml:1:16: want true or false, not "yes"`},
		{"empty format", `layer_format: ""`, `s.yml:1:15: want a value, not ""`},
		{"limits as a list", "limits: [1]", "s.yml:1:9: want a map, not a list"},
		{"unknown limit", "limits:\n  layer_byte: 1GB", `s.yml:2:3: unknown key "layer_byte" (did you mean "layer_bytes"?)`},
		{"bytes that are none", "limits: {layer_bytes: none}", `s.yml:1:23: want a size with its unit, such as 500MB, 20GB or 256GiB, not "none"`},
		{"no entries", "limits: {layer_entries: 0}", `s.yml:1:25: want a whole number from 1 to 2147483647, not "0"`},
		{"half an entry", "limits: {layer_entries: 1.5}", `s.yml:1:25: want a whole number`},
		{"octal entries", "limits: {layer_entries: 0100}", `s.yml:1:25: want a whole number`},
		{"quoted entries", `limits: {layer_entries: "5"}`, `s.yml:1:25: want a whole number`},
		{"too large a ratio", "limits: {layer_ratio: 9999999999}", `s.yml:1:23: want a whole number`},

		{"hosts as a list", "registries:\n  - a.example", "s.yml:2:3: want a map, not a list"},
		{"host as a string", "registries:\n  a.example: b.example", `s.yml:2:14: want a map, not "b.example"`},
		{"host with a scheme", "registries:\n  https://a.example: {}", `s.yml:2:3: registry "https://a.example": it is not HOST or HOST:PORT`},
		{"host with a path", "registries:\n  a.example/x: {}", `s.yml:2:3: registry "a.example/x": it is not HOST`},
		{"host without a dot", "registries:\n  mirror: {}", `s.yml:2:3: registry "mirror": a host needs a dot`},
		{"host that is a number", "registries:\n  5: {}", `s.yml:2:3: a key must be a string, not "5"`},
		{"host that is a list", "registries:\n  ? [a]\n  : {}", `s.yml:2:5: a key must be a string, not a list`},
		{"host twice by two names", "registries:\n  docker.io: {}\n  index.docker.io: {}", `s.yml:3:3: registry "docker.io" is listed twice`},
		{"unknown setting", host("mirror: [b.example]"), `s.yml:3:5: unknown key "mirror" (did you mean "mirrors"?)`},
		{"setting twice", host("ca: a\n    ca: b"), `s.yml:4:5: key "ca" is given twice, first at line 3`},
		{"merge key", "registries:\n  a.example: &a {http: true}\n  b.example:\n    <<: *a\n", `s.yml:4:5: a key must be a string, not "<<"`},
		{"alias", "registries:\n  a.example: &a {http: true}\n  b.example: *a\n", `s.yml:3:14: want a map, not an alias`},
		{"one mirror, not in a list", host("mirrors: b.example"), `s.yml:3:14: want a list of mirrors, not "b.example"`},
		{"mirror with a scheme", host("mirrors: [https://b.example]"), `s.yml:3:15: mirror "https://b.example": it is not HOST or HOST:PORT; leave out https://`},
		{"mirror without a host", host("mirrors: [library/x]"), `s.yml:3:15: mirror "library/x": a host needs a dot`},
		{"mirror with a bad path", host("mirrors: [b.example/X]"), `s.yml:3:15: mirror "b.example/X": what is after the first /`},
		{"mirror that is empty", host(`mirrors: [""]`), `s.yml:3:15: want a string, not ""`},
		{"mirror that is a map", host("mirrors:\n      - b.example: x"), `s.yml:4:9: want a string, not a map`},
		{"cache with a scheme", host("cache: https://c.example"), `s.yml:3:12: cache "https://c.example": it is not HOST or HOST:PORT`},
		{"cache as a list", host("cache: [c.example]"), `s.yml:3:12: want a string, not a list`},
		{"ca is empty", host(`ca: ""`), `s.yml:3:9: want a string, not ""`},
		{"ca is nothing", host("ca:"), "s.yml:3:8: want a string, not nothing"},
		{"ca is a number", host("ca: 5"), `s.yml:3:9: want a string, not "5"`},
		{"http is yes", host("http: yes"), `s.yml:3:11: want true or false, not "yes"`},
		{"http is quoted", host(`http: "true"`), `s.yml:3:11: want true or false, not "true"`},
		{"private targets as a string", host("allow_private: b.example"), `s.yml:3:20: want true, false or a list of hosts, addresses and networks, not "b.example"`},
		{"private target with a scheme", host("allow_private: [https://b.example]"), `s.yml:3:21: target "https://b.example": it is not HOST, HOST:PORT, an address or a network`},
		{"private target that is no network", host("allow_private: [10.0.0.0/99]"), `s.yml:3:21: target "10.0.0.0/99": it is not`},
		{"timeout without a unit", host("stall_timeout: soon"), `s.yml:3:20: want a duration of at most 24h such as 30s or 2m, not "soon"`},
		{"timeout of 0", host("stall_timeout: 0"), `s.yml:3:20: want a duration`},
		{"negative timeout", host("connect_timeout: -5s"), `s.yml:3:22: want a duration`},
		{"timeout that is too long", host("connect_timeout: 25h"), `s.yml:3:22: want a duration`},
		{"timeout of too many seconds", host("connect_timeout: 99999999999999"), `s.yml:3:22: want a duration`},
		{"timeout that is a list", host("connect_timeout: [5s]"), `s.yml:3:22: want a duration of at most 24h such as 30s or 2m, not a list`},
		{"cert without key", host("cert: c.pem"), `s.yml:2:3: registry "a.example": cert and key belong together`},
		{"key without cert", host("key: k.pem"), `s.yml:2:3: registry "a.example": cert and key belong together`},
		{"plain HTTP with a CA", host("http: true\n    ca: ca.pem"), `s.yml:2:3: registry "a.example": http: true uses no TLS`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := settings.Parse("s.yml", []byte(c.yaml))
			if err == nil {
				t.Fatalf("parsed as %v", got)
			}
			if !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
			if invalid := (*settings.Error)(nil); !errors.As(err, &invalid) {
				t.Errorf("it is a %T", err)
			}
		})
	}
}

func TestParseFindsAllErrorsAtOnce(t *testing.T) {
	_, err := settings.Parse("s.yml", []byte("store_limit: 5\nregistries:\n  a.example:\n    http: no\n    cert: c.pem\n    x: 1\n"))
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 4 {
		t.Errorf("got %q", lines)
	}
}

func TestErrorsRepeatNoPassword(t *testing.T) {
	for _, yaml := range []string{
		"bob:hunter2@a.example: 1",
		"registries:\n  bob:hunter2@a.example: {}",
		"registries:\n  a.example: {mirrors: [bob:hunter2@b.example/x]}",
		"registries:\n  a.example: {http: bob:hunter2@b.example}",
		"store_limit: bob:hunter2@b.example",
		"layer_format: [bob:hunter2@b.example]",
	} {
		_, err := settings.Parse("s.yml", []byte(yaml))
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error is %v", err)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"1B": 1, "500kB": 500e3, "500KiB": 500 << 10, "20GB": 20e9, "20g": 20e9, "20GiB": 20 << 30, "1.5 TB": 15e11, "2tib": 2 << 40,
	} {
		if got, err := settings.ParseSize(text); err != nil || got != want {
			t.Errorf("%s is %d, %v; want %d", text, got, err, want)
		}
	}
}

func TestVerifyImages(t *testing.T) {
	dir := t.TempDir()
	key := "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEODqQRIFLOQESjo+K8nd6+Mlr+nuY\nVwY4Au95IxcpjGPsNdgnv4jVnVpf95wl++T44knuY35LJ+4G4hilMGgILw==\n-----END PUBLIC KEY-----\n"
	if err := os.WriteFile(filepath.Join(dir, "team.pub"), []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "s.yml")
	for yaml, want := range map[string]string{
		"verify_images: {a: 1}":                                            ":1:16: want a list of rules",
		"verify_images: [{keys: [team.pub]}]":                              ":1:17: the rule needs images",
		"verify_images: [{images: a.example/*}]":                           ":1:17: the rule needs either keys or unsigned: true",
		"verify_images: [{images: a.example/*, keys: [x.pub]}]":            ":1:46: key: open ",
		"verify_images: [{images: a.example/*, keys: []}]":                 ":1:45: want a list of files",
		"verify_images: [{images: \"a b\", unsigned: true}]":               ":1:26: the pattern of images: it is not a repository",
		"verify_images: [{images: a/*, kyes: [team.pub]}]":                 ":1:31: unknown key \"kyes\"",
		"verify_images: [{images: a/*, unsigned: true, keys: [team.pub]}]": ":1:17: the rule needs either",
	} {
		if _, err := settings.Parse(file, []byte(yaml)); err == nil || !strings.Contains(err.Error(), file+want) {
			t.Errorf("%s: %v", yaml, err)
		}
	}
}
