package drone_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/runner/drone"
	"github.com/stepexec/stepexec/runner/drone/servertest"
)

const pluginSecret = "0123456789abcdef0123456789abcdef-and-more"

// plugin is an extension of a runner. It refuses requests that are not signed as they should.
func plugin(t *testing.T, answer func(accept string, request map[string]any) (code int, body string, encrypted bool)) drone.Plugin {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !isSigned(r, body) {
			http.Error(w, "Invalid or Missing Signature", http.StatusBadRequest)
			return
		}
		var request map[string]any
		if err := json.Unmarshal(body, &request); err != nil {
			t.Error(err)
		}
		if repo, _ := request["repo"].(map[string]any); repo["slug"] == nil || repo["secret"] != nil {
			t.Errorf("the plugin is told of the repository %v", repo)
		}
		code, text, encrypted := answer(r.Header.Get("Accept"), request)
		if encrypted {
			block, _ := aes.NewCipher([]byte(pluginSecret)[:32])
			gcm, _ := cipher.NewGCM(block)
			nonce := make([]byte, gcm.NonceSize())
			text = string(gcm.Seal(nonce, nonce, []byte(text), nil))
			w.Header().Set("Content-Encoding", "aesgcm")
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(server.Close)
	return drone.Plugin{Endpoint: server.URL, Secret: pluginSecret}
}

var signature = regexp.MustCompile(`^keyId="hmac-key",algorithm="hmac-sha256",headers="([a-z -]+)",signature="([^"]+)"$`)

func isSigned(r *http.Request, body []byte) bool {
	parts := signature.FindStringSubmatch(r.Header.Get("Signature"))
	digest := sha256.Sum256(body)
	if parts == nil || r.Header.Get("Digest") != "SHA-256="+base64.StdEncoding.EncodeToString(digest[:]) {
		return false
	}
	var lines []string
	for _, name := range strings.Fields(parts[1]) {
		lines = append(lines, name+": "+r.Header.Get(name))
	}
	mac := hmac.New(sha256.New, []byte(pluginSecret))
	mac.Write([]byte(strings.Join(lines, "\n")))
	return parts[2] == base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

const externalFile = `kind: pipeline
clone: {disable: true}
steps:
- name: a
  image: oci:busybox
  environment: {TOKEN: {from_secret: token}, OTHER: {from_secret: other}}
  commands: ['test "$TOKEN" = from-the-vault || echo no token', 'echo $TOKEN $REGION $HIDDEN ${#OTHER}']
---
{kind: secret, name: token, get: {path: secret/data/ci, name: token}}
---
{kind: secret, name: other, get: {path: secret/data/ci, name: other}}
---
{kind: secret, name: unused, get: {path: secret/data/ci, name: unused}}
`

func TestPluginsGiveSecretsAndVariables(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		t.Run(fmt.Sprintf("encrypted %t", encrypted), func(t *testing.T) {
			b := newBench(t)
			b.start(func(o *drone.Options) {
				o.SecretPlugin = plugin(t, func(accept string, r map[string]any) (int, string, bool) {
					switch {
					case accept != "application/vnd.drone.secret.v1+json" || r["path"] != "secret/data/ci" || r["name"] == "unused":
						t.Errorf("asked for %v, %s", r, accept)
					case r["name"] == "token":
						return 200, `{"name": "token", "data": "from-the-vault"}`, encrypted
					}
					return 204, "", false
				})
				o.EnvironPlugin = plugin(t, func(accept string, _ map[string]any) (int, string, bool) {
					if accept != "application/vnd.drone.env.v2+json" {
						t.Errorf("asked for %s", accept)
					}
					return 200, `[{"name": "REGION", "data": "north"}, {"name": "HIDDEN", "data": "behind-a-mask", "mask": true}]`, encrypted
				})
				o.RegistryPlugin = plugin(t, func(string, map[string]any) (int, string, bool) {
					return 200, `[{"address": "registry.example.com", "username": "u", "password": "pass-of-it"}]`, encrypted
				})
			})
			s := b.server.Ended(b.server.Push(externalFile, nil))
			if text := s.Step("a").Text(); outcome(s) != "a=success success" || !strings.Contains(text, "\n*** north *** 0\n") || strings.Contains(text, "\nno token\n") {
				t.Errorf("%s %s\n%s", outcome(s), s.Error, text)
			}
		})
	}
}

// A pull request gets only secrets that are meant for it.
func TestPluginSecretsOfPullRequests(t *testing.T) {
	b := newBench(t)
	b.start(func(o *drone.Options) {
		o.SecretPlugin = plugin(t, func(string, map[string]any) (int, string, bool) {
			return 200, `{"data": "from-the-vault", "pull_request": false}`, false
		})
	})
	s := b.server.Ended(b.server.Push(externalFile, func(s *servertest.Stage) { s.Build["event"] = "pull_request" }))
	if text := s.Step("a").Text(); !strings.Contains(text, "\nno token\n") || strings.Contains(text, "*") {
		t.Errorf("%s\n%s", outcome(s), text)
	}
}

// Nothing runs without what a plugin would have given.
func TestPluginThatFailsEndsTheStage(t *testing.T) {
	for name, answer := range map[string]func(string, map[string]any) (int, string, bool){
		"refusal":  func(string, map[string]any) (int, string, bool) { return 500, "the vault is sealed", false },
		"no JSON":  func(string, map[string]any) (int, string, bool) { return 200, "<html>", false },
		"redirect": func(string, map[string]any) (int, string, bool) { return 302, "elsewhere", false },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.start(func(o *drone.Options) { o.SecretPlugin = plugin(t, answer) })
			s := b.server.Ended(b.server.Push(externalFile, nil))
			if s.Status != "error" || !strings.Contains(s.Error, `secret "token": plugin http://`) || s.ExitCode != 255 {
				t.Errorf("%s %d %s", s.Status, s.ExitCode, s.Error)
			}
		})
	}
}

// A file gives its steps secrets of the repository, never what the runner logs in with.
func TestFilesCannotNameSecretsOfTheRunner(t *testing.T) {
	b := newBench(t)
	b.start(func(o *drone.Options) {
		o.RegistryConfig = []byte(`{"auths": {"registry.example.com": {"auth": "dTpwYXNzLW9mLWl0"}}}`)
		o.RegistryPlugin = plugin(t, func(string, map[string]any) (int, string, bool) {
			return 200, `[{"address": "registry.example.org", "username": "u", "password": "pass-of-it"}]`, false
		})
	})
	s := b.server.Ended(b.server.Push(`kind: pipeline
clone: {disable: true}
steps:
- name: a
  image: oci:busybox
  environment:
    RUNNERS: {from_secret: "runner's docker config.json"}
    PLUGINS: {from_secret: "plugin's docker config.json"}
    VALUE: {from_secret: "plugins' value 1"}
  commands: ['echo "have:$RUNNERS$PLUGINS$VALUE:"']
`, nil))
	if text := s.Step("a").Text(); !strings.Contains(text, "\nhave::\n") {
		t.Errorf("%s %s\n%s", outcome(s), s.Error, text)
	}
}

// The address of a plugin can have a password, which no page of a build may show.
func TestErrorsOfPluginsDoNotShowPasswords(t *testing.T) {
	b := newBench(t)
	b.start(func(o *drone.Options) {
		o.SecretPlugin = plugin(t, func(string, map[string]any) (int, string, bool) { return 500, "the vault is sealed", false })
		o.SecretPlugin.Endpoint = strings.Replace(o.SecretPlugin.Endpoint, "http://", "http://user:password@", 1) + "/?token=hidden"
	})
	if s := b.server.Ended(b.server.Push(externalFile, nil)); !strings.Contains(s.Error, "plugin http://") || strings.Contains(s.Error, "password") || strings.Contains(s.Error, "hidden") {
		t.Error(s.Error)
	}
}

// The stage has the exit code of the first step that failed.
func TestStageHasAnExitCode(t *testing.T) {
	b := newBench(t)
	b.start(nil)
	for keys, want := range map[string]int{"commands: [exit 3]": 3, "commands: [exit 3], failure: ignore": 0, "commands: ['true']": 0, "image: 'oci:missing'": 255} {
		if s := b.server.Ended(b.server.Push(steps("a: "+keys), nil)); s.ExitCode != want {
			t.Errorf("%s: %d", keys, s.ExitCode)
		}
	}
}
