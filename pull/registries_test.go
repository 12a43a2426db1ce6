package pull_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/pull"
)

func TestParseRegistries(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		want       map[string]pull.Host
	}{
		{"empty", "", map[string]pull.Host{}},
		{"a comment", "# nothing yet\n", map[string]pull.Host{}},
		{"nothing below", "registries:\n", map[string]pull.Host{}},
		{"a host without settings", "registries:\n  registry.example:\n", map[string]pull.Host{"registry.example": {}}},
		{"everything", `
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
`, map[string]pull.Host{
			"docker.io": {Mirrors: []string{"mirror.example:5000", "cache.example/docker-hub"}},
			"mirror.example:5000": {
				CA: "/etc/stepexec/ca.pem", Cert: "/abs/client.pem", Key: "/etc/client.key",
				ConnectTimeout: 1500 * time.Millisecond, StallTimeout: 90 * time.Second,
			},
			"[::1]:5000": {HTTP: true},
		}},
		{"another name of docker.io", "registries: {registry-1.docker.io: {skip_verify: true}}",
			map[string]pull.Host{"docker.io": {SkipVerify: true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := pull.ParseRegistries("/etc/stepexec/registries.yml", []byte(c.yaml))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got.Hosts); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBadRegistriesFiles(t *testing.T) {
	host := func(settings string) string { return "registries:\n  a.example:\n    " + settings + "\n" }
	for _, c := range []struct{ name, yaml, want string }{
		{"not YAML", "registries: [", "r.yml:1:1: not valid YAML: "},
		{"not YAML, further down", "registries:\n  a.example: {}\n\tb: 1\n", "r.yml:3:1: not valid YAML: "},
		{"not UTF-8", "registries: \xff", "r.yml:1:1: not valid YAML: "},
		{"two documents", "registries:\n---\nregistries:\n", "r.yml:2:1: the file has more than one document"},
		{"too large", strings.Repeat("#", 1<<20+1), "r.yml:1:1: the file is larger than 1048576 bytes"},
		{"a list", "- a", "r.yml:1:1: want a map, not a list"},
		{"a string", "registries", `r.yml:1:1: want a map, not "registries"`},
		{"unknown section", "registry: {}", `r.yml:1:1: unknown key "registry" (want registries)`},
		{"hosts as a list", "registries:\n  - a.example", "r.yml:2:3: want a map, not a list"},
		{"host as a string", "registries:\n  a.example: b.example", `r.yml:2:14: want a map, not "b.example"`},
		{"host with a scheme", "registries:\n  https://a.example: {}", `r.yml:2:3: registry "https://a.example": it is not HOST or HOST:PORT`},
		{"host with a path", "registries:\n  a.example/x: {}", `r.yml:2:3: registry "a.example/x": it is not HOST`},
		{"host without a dot", "registries:\n  mirror: {}", `r.yml:2:3: registry "mirror": a host needs a dot`},
		{"host that is a number", "registries:\n  5: {}", `r.yml:2:3: a key must be a string, not "5"`},
		{"host that is a list", "registries:\n  ? [a]\n  : {}", `r.yml:2:5: a key must be a string, not a list`},
		{"host twice", "registries:\n  a.example: {}\n  a.example: {}", `r.yml:3:3: key "a.example" is there already, at line 2`},
		{"host twice by two names", "registries:\n  docker.io: {}\n  index.docker.io: {}", `r.yml:3:3: registry "docker.io" is there already`},
		{"unknown setting", host("mirror: [b.example]"), `r.yml:3:5: unknown key "mirror" (want mirrors, ca,`},
		{"setting twice", host("ca: a\n    ca: b"), `r.yml:4:5: key "ca" is there already, at line 3`},
		{"merge key", "registries:\n  a.example: &a {http: true}\n  b.example:\n    <<: *a\n", `r.yml:4:5: a key must be a string, not "<<"`},
		{"alias", "registries:\n  a.example: &a {http: true}\n  b.example: *a\n", `r.yml:3:14: want a map, not an alias`},
		{"one mirror, not in a list", host("mirrors: b.example"), `r.yml:3:14: want a list of mirrors, not "b.example"`},
		{"mirror with a scheme", host("mirrors: [https://b.example]"), `r.yml:3:15: mirror "https://b.example": it is not HOST or HOST:PORT; leave out https://`},
		{"mirror without a host", host("mirrors: [library/x]"), `r.yml:3:15: mirror "library/x": a host needs a dot`},
		{"mirror with a bad path", host("mirrors: [b.example/X]"), `r.yml:3:15: mirror "b.example/X": what is after the first /`},
		{"mirror with a trailing slash", host("mirrors: [b.example/]"), `r.yml:3:15: mirror "b.example/": what is after`},
		{"mirror that is empty", host(`mirrors: [""]`), `r.yml:3:15: want a string, not ""`},
		{"mirror that is a map", host("mirrors:\n      - b.example: x"), `r.yml:4:9: want a string, not a map`},
		{"ca is empty", host(`ca: ""`), `r.yml:3:9: want a string, not ""`},
		{"ca is nothing", host("ca:"), "r.yml:3:8: want a string, not nothing"},
		{"ca is a number", host("ca: 5"), `r.yml:3:9: want a string, not "5"`},
		{"http is yes", host("http: yes"), `r.yml:3:11: want true or false, not "yes"`},
		{"http is quoted", host(`http: "true"`), `r.yml:3:11: want true or false, not "true"`},
		{"timeout without a unit", host("stall_timeout: soon"), `r.yml:3:20: want a duration of at most 24h such as 30s or 2m, not "soon"`},
		{"timeout of 0", host("stall_timeout: 0"), `r.yml:3:20: want a duration`},
		{"negative timeout", host("connect_timeout: -5s"), `r.yml:3:22: want a duration`},
		{"timeout that is too long", host("connect_timeout: 25h"), `r.yml:3:22: want a duration`},
		{"timeout of too many seconds", host("connect_timeout: 99999999999999"), `r.yml:3:22: want a duration`},
		{"timeout that is a list", host("connect_timeout: [5s]"), `r.yml:3:22: want a duration of at most 24h such as 30s or 2m, not a list`},
		{"cert without key", host("cert: c.pem"), `r.yml:2:3: registry "a.example": cert and key belong together`},
		{"key without cert", host("key: k.pem"), `r.yml:2:3: registry "a.example": cert and key belong together`},
		{"plain HTTP with a CA", host("http: true\n    ca: ca.pem"), `r.yml:2:3: registry "a.example": http: true is without TLS`},
		{"control character", host(`"c\ra\x1b[2J": 1`), `r.yml:3:5: unknown key "c\ra\x1b[2J"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := pull.ParseRegistries("r.yml", []byte(c.yaml))
			if err == nil {
				t.Fatalf("parsed as %v", got.Hosts)
			}
			if !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
		})
	}
	t.Run("all errors at once", func(t *testing.T) {
		_, err := pull.ParseRegistries("r.yml", []byte(host("http: no\n    cert: c.pem\n    x: 1")))
		if lines := strings.Split(err.Error(), "\n"); len(lines) != 3 {
			t.Errorf("got %q", lines)
		}
	})
	t.Run("no password is repeated", func(t *testing.T) {
		for _, yaml := range []string{host("mirrors: [bob:hunter2@b.example/x]"), "registries:\n  bob:hunter2@a.example: {}", host("http: bob:hunter2@b.example")} {
			_, err := pull.ParseRegistries("r.yml", []byte(yaml))
			if err == nil || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error is %v", err)
			}
		}
	})
}

func TestWithMirrors(t *testing.T) {
	file := &pull.Registries{Hosts: map[string]pull.Host{
		"docker.io": {Mirrors: []string{"file.example"}, StallTimeout: time.Minute},
	}}
	got, err := file.WithMirrors([]string{"one.example:5000", "quay.io=two.example/quay", "docker.io=three.example"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]pull.Host{
		"docker.io": {Mirrors: []string{"one.example:5000", "three.example", "file.example"}, StallTimeout: time.Minute},
		"quay.io":   {Mirrors: []string{"two.example/quay"}},
	}
	if diff := cmp.Diff(want, got.Hosts); diff != "" {
		t.Error(diff)
	}
	if len(file.Hosts) != 1 || len(file.Hosts["docker.io"].Mirrors) != 1 {
		t.Errorf("the original was changed: %v", file.Hosts)
	}
	for flag, want := range map[string]string{
		"":                          "it is not HOST",
		"mirror":                    "needs a dot",
		"https://mirror.example":    "leave out https://",
		"quay.io=":                  "it is not HOST",
		"=mirror.example":           "it is not HOST",
		"quay.io/x=mirror.example":  "it is not HOST",
		"a:hunter2@mirror.example":  "it is not HOST",
		"quay.io=m.example=n.other": "it is not HOST",
	} {
		_, err := (*pull.Registries)(nil).WithMirrors([]string{flag})
		wantText(t, err, "registry mirror ", want)
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}
