package pull

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
)

// ConfigKeychain finds credentials in the texts of docker config.json files, in order, and then in
// rest; nil is authn.DefaultKeychain. The error never quotes a text.
func ConfigKeychain(configs [][]byte, rest authn.Keychain) (authn.Keychain, error) {
	if rest == nil {
		rest = authn.DefaultKeychain
	}
	k := &configKeychain{byHost: map[string]authn.AuthConfig{}, rest: rest}
	for _, text := range configs {
		var file struct {
			Auths map[string]authn.AuthConfig `json:"auths"`
		}
		if err := json.Unmarshal(text, &file); err != nil {
			return nil, errors.New("not a docker config.json, or what it has for a registry is no user and password")
		}
		for name, auth := range file.Auths {
			if host := configHost(name); k.byHost[host] == (authn.AuthConfig{}) {
				k.byHost[host] = auth
			}
		}
	}
	return k, nil
}

type configKeychain struct {
	byHost map[string]authn.AuthConfig
	rest   authn.Keychain
}

// configHost returns the host of a registry as config.json names it: a URL or a host.
func configHost(name string) string {
	if _, after, found := strings.Cut(name, "://"); found {
		name = after
	}
	host, _, _ := strings.Cut(name, "/")
	switch host = strings.ToLower(host); host {
	case "docker.io", "registry-1.docker.io":
		return "index.docker.io"
	}
	return host
}

// Resolve implements authn.Keychain.
func (k *configKeychain) Resolve(r authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), r)
}

// ResolveContext implements authn.ContextKeychain.
func (k *configKeychain) ResolveContext(ctx context.Context, r authn.Resource) (authn.Authenticator, error) {
	if auth, found := k.byHost[configHost(r.RegistryStr())]; found {
		return authn.FromConfig(auth), nil
	}
	return authn.Resolve(ctx, k.rest, r)
}
