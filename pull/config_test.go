package pull_test

import (
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/stepexec/stepexec/pull"
)

func TestConfigKeychainFindsHostsAsDockerWritesThem(t *testing.T) {
	first := `{"auths": {"https://index.docker.io/v1/": {"auth": "dXNlcjpwYXNz"}, "registry.example.com": {"username": "ci", "password": "one"}}}`
	second := `{"auths": {"REGISTRY.example.com": {"username": "other", "password": "two"}, "quay.example:5000": {"identitytoken": "t0ken"}}}`
	keychain, err := pull.ConfigKeychain([][]byte{[]byte(first), []byte(second)}, authn.NewMultiKeychain())
	if err != nil {
		t.Fatal(err)
	}
	for image, want := range map[string]authn.AuthConfig{
		"golang":                          {Username: "user", Password: "pass"},
		"registry.example.com/team/app:1": {Username: "ci", Password: "one"},
		"quay.example:5000/app":           {IdentityToken: "t0ken"},
		"ghcr.example/app":                {},
	} {
		ref, err := name.ParseReference(image)
		if err != nil {
			t.Fatal(err)
		}
		auth, err := keychain.Resolve(ref.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, err := auth.Authorization()
		got.Auth = "" // the same once more
		if err != nil || *got != want {
			t.Errorf("%s: got %+v, %v; want %+v", image, got, err, want)
		}
	}
	for _, bad := range []string{`[]`, `{"auths": {"a": {"auth": "?"}}}`} {
		if _, err := pull.ConfigKeychain([][]byte{[]byte(bad)}, nil); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}
