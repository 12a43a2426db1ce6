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
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/sys/unix"

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
		_, err := pull.ParseReference(ref)
		if err == nil {
			t.Fatalf("%s is a reference", ref)
		}
		wantText(t, err, "registry.example")
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}

// TestDockerAuthConfig has no config.json, as jobs of GitLab do.
func TestDockerAuthConfig(t *testing.T) {
	r := registry.Start(t, registry.Options{Users: map[string]string{"alice": "secret"}})
	image := platformImage(t, "linux/amd64", 1)
	ref := r.Push(t, "private/x:1", image)
	t.Setenv("HOME", t.TempDir())
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	encoded := base64.StdEncoding.EncodeToString([]byte("alice:secret"))
	for _, text := range []string{
		fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, r.Host, encoded),
		fmt.Sprintf(`{"auths": {"https://%s/v2/": {"username": "alice", "password": "secret"}}}`, r.Host),
	} {
		t.Setenv("DOCKER_AUTH_CONFIG", text)
		checkImage(t, mustResolve(t, ref, pull.Options{Platform: "linux/amd64"}), image)
	}
	for text, want := range map[string]string{
		`{"auths": {"other.example": {"auth": "YWxpY2U6c2VjcmV0"}}}`: "no credentials were sent",
		`{"auths": hunter2`: "DOCKER_AUTH_CONFIG is not valid JSON",
		fmt.Sprintf(`{"auths": {%q: {"auth": "hunter2"}}}`, r.Host): "auth of " + r.Host + " is not base64 of USER:PASSWORD",
	} {
		t.Setenv("DOCKER_AUTH_CONFIG", text)
		err := resolveError(t, ref, pull.Options{Platform: "linux/amd64"})
		wantText(t, err, want)
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error tells a secret: %v", err)
		}
	}
}

func TestACredentialHelperThatHangsIsNamed(t *testing.T) {
	dockerConfig(t, `{"credsStore": "test"}`, "exec sleep 1000")
	err := resolveError(t, "127.0.0.1:1/x:1", pull.Options{Platform: "linux/amd64", HelperTimeout: 100 * time.Millisecond})
	wantText(t, err, "credential helper docker-credential-test gave no answer within 100ms")
}

func TestTheChildrenOfACredentialHelperThatHangsEndWithIt(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(fifo, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	dockerConfig(t, `{"credsStore": "test"}`, "sleep 1000 >"+fifo+" & echo begun >"+fifo+"; wait")
	err = resolveError(t, "127.0.0.1:1/x:1", pull.Options{Platform: "linux/amd64", HelperTimeout: time.Second})
	wantText(t, err, "gave no answer within 1s")
	if err := reader.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(reader) // ends once the child, which has the FIFO open, has ended
	if err != nil || string(said) != "begun\n" {
		t.Errorf("the child wrote %q, and the wait for its end: %v", said, err)
	}
}

// TestWhatARegistrySays shows its own words, without what they must not show.
func TestWhatARegistrySays(t *testing.T) {
	basic := base64.StdEncoding.EncodeToString([]byte("alice:hunter2secret"))
	for _, c := range []struct {
		status        int
		code, message string
		anonymous     bool
		want          []string
		not           []string
	}{
		{status: 412, code: "PROJECTPOLICYVIOLATION", message: "current image with 7 vulnerabilities cannot be pulled", want: []string{`HTTP status 412 Precondition Failed (the registry says "current image with 7 vulnerabilities cannot be pulled")`}},
		{status: 451, code: "DENIED", message: "not available in your country", want: []string{`HTTP status 451 Unavailable For Legal Reasons (the registry says "not available in your country")`}, not: []string{"docker login"}},
		{status: 451, code: "DENIED", message: "not available to you", anonymous: true, want: []string{`(the registry says "not available to you")`}, not: []string{"docker login", "unauthorised"}},
		{status: 412, code: "UNAUTHORIZED", message: "scan pending", anonymous: true, want: []string{`HTTP status 412 Precondition Failed (the registry says "scan pending")`}, not: []string{"docker login"}},
		{status: 403, code: "DENIED", message: "pull access by policy", want: []string{`refuses it (HTTP status 403) (the registry says "pull access by policy"): the credentials are known there`}, not: []string{"docker login"}},
		{status: 403, code: "DENIED", message: "who are you", anonymous: true, want: []string{"unauthorised", "docker login", `the registry says "who are you"`}},
		{status: 400, code: "UNKNOWN", message: "a\x1b]0;b\nc", want: []string{`(the registry says "a ]0;b")`}},
		{status: 400, code: "UNKNOWN", message: "you sent Basic " + basic + " and hunter2secret and " + basic, want: []string{"***"}, not: []string{basic, "hunter2"}},
		{status: 400, code: "UNKNOWN", message: "sha256:" + strings.Repeat("a", 64) + " is bad", want: []string{"sha256:aaa"}},
		{status: 400, code: "UNKNOWN", message: strings.Repeat("ä b ", 1000), want: []string{`…")`}},
	} {
		t.Run(c.message[:min(20, len(c.message))], func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if q.URL.Path == "/v2/" && !c.anonymous {
					w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				if q.URL.Path != "/v2/" {
					w.WriteHeader(c.status)
					_, _ = w.Write(mustJSON(t, map[string]any{"errors": []map[string]string{{"code": c.code, "message": c.message}}}))
				}
			}))
			defer server.Close()
			o := pull.Options{Platform: "linux/amd64", Keychain: only{&authn.Basic{Username: "alice", Password: "hunter2secret"}}}
			if c.anonymous {
				o.Keychain = anonymous
			}
			err := resolveError(t, strings.TrimPrefix(server.URL, "http://")+"/x:1", o)
			wantText(t, err, c.want...)
			for _, not := range c.not {
				if strings.Contains(err.Error(), not) {
					t.Errorf("%v tells %q", err, not)
				}
			}
			if len(err.Error()) > 800 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestARegistryThatDripsIsAStall(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/v2/" {
			return
		}
		w.Header().Set("Content-Type", ociManifest)
		for range 1000 {
			if _, err := w.Write([]byte(" ")); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			select {
			case <-q.Context().Done():
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}))
	defer server.Close()
	err := resolveError(t, strings.TrimPrefix(server.URL, "http://")+"/x:1",
		pull.Options{Keychain: anonymous, StallTimeout: 100 * time.Millisecond, RetryWait: time.Millisecond})
	wantText(t, err, "bytes came for 100ms")
}
