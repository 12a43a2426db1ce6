package pull_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/stepexec/stepexec/fixtures/registry"
	"github.com/stepexec/stepexec/pull"
)

func TestCredentials(t *testing.T) {
	const password = "correct horse"
	r := registry.Start(t, registry.Options{Users: map[string]string{"alice": password}})
	image := platformImage(t, "linux/amd64", 1)
	ref := r.Push(t, "private/x:1", image)
	auth := func(user, password string) string {
		encoded := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
		return fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, r.Host, encoded)
	}
	helper := fmt.Sprintf(`{"credHelpers": {%q: "test"}}`, r.Host)
	for _, c := range []struct {
		name, config, helper string
		want                 []string // nil: it works
	}{
		{name: "config.json", config: auth("alice", password)},
		{name: "credential helper", config: helper,
			helper: `read host; echo "{\"ServerURL\":\"$host\",\"Username\":\"alice\",\"Secret\":\"` + password + `\"}"`},
		{name: "none", config: `{}`,
			want: []string{"unauthorised at " + r.Host, "no credentials were sent", "docker login " + r.Host}},
		{name: "wrong password", config: auth("alice", "hunter2"),
			want: []string{"unauthorised at " + r.Host, "credentials that were sent", "docker login " + r.Host}},
		{name: "helper fails after printing the secret", config: helper, helper: `echo "hunter2"; exit 1`,
			want: []string{"credentials for " + r.Host, "exit status 1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dockerConfig(t, c.config, c.helper)
			if c.want == nil {
				img := mustResolve(t, ref, pull.Options{Platform: "linux/amd64"})
				checkImage(t, img, image)
				return
			}
			err := resolveError(t, ref, pull.Options{Platform: "linux/amd64"})
			wantText(t, err, c.want...)
			wrong := base64.StdEncoding.EncodeToString([]byte("alice:hunter2"))
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), wrong) {
				t.Errorf("the error tells the password: %v", err)
			}
			if c.helper == "" && !errors.Is(err, pull.ErrUnauthorized) {
				t.Errorf("%v is not ErrUnauthorized", err)
			}
		})
	}
}

// dockerConfig lets DefaultKeychain find this config.json and, if it is not empty, a
// shell script as the credential helper "test".
func dockerConfig(t *testing.T, config, helper string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("DOCKER_CONFIG", dir)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if helper == "" {
		return
	}
	script := filepath.Join(dir, "docker-credential-test")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"+helper+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// only is a keychain with the same credentials for every registry.
type only struct{ authn.Authenticator }

func (o only) Resolve(authn.Resource) (authn.Authenticator, error) { return o.Authenticator, nil }

// TestTokenServer goes through docker's token authentication, with a server that
// echoes the credentials in its refusals.
func TestTokenServer(t *testing.T) {
	image := platformImage(t, "linux/amd64", 0)
	raw, _ := image.RawManifest()
	config, _ := image.RawConfigFile()
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		_, password, _ := q.BasicAuth()
		switch {
		case q.URL.Path == "/token" && password == "right":
			_, _ = io.WriteString(w, `{"token":"T"}`)
		case q.URL.Path == "/token" || q.Header.Get("Authorization") != "Bearer T":
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+server.URL+`/token",service="s"`)
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"errors":[{"code":"UNAUTHORIZED","message":%q}]}`, password)
		case strings.Contains(q.URL.Path, "/manifests/"):
			w.Header().Set("Content-Type", dockerManifest)
			_, _ = w.Write(raw)
		case strings.Contains(q.URL.Path, "/blobs/"):
			_, _ = w.Write(config)
		}
	}))
	defer server.Close()
	ref := strings.TrimPrefix(server.URL, "http://") + "/x:1"

	mustResolve(t, ref, pull.Options{Platform: "linux/amd64", Keychain: only{&authn.Basic{Username: "u", Password: "right"}}})
	err := resolveError(t, ref, pull.Options{Keychain: only{&authn.Basic{Username: "u", Password: "hunter2"}}})
	wantText(t, err, "unauthorised", "credentials that were sent")
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error tells the password: %v", err)
	}
}

func TestBadReferenceTellsNoPassword(t *testing.T) {
	for _, ref := range []string{"https://bob:hunter2@registry.example/x:1", "bob:hunter2@registry.example/x", "hunter2@registry.example/x"} {
		err := resolveError(t, ref, pull.Options{})
		wantText(t, err, "registry.example")
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}
