package pull

import (
	"context"
	"strings"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/authn"
)

// credentials wraps the caller's keychain. It remembers whether there were credentials for the
// registry, which is the first thing to know when the registry refuses.
type credentials struct {
	keychain authn.Keychain
	found    atomic.Bool
	sent     atomic.Pointer[authn.AuthConfig] // credentials sent, so that messages can mask them
}

// Resolve implements authn.Keychain.
func (c *credentials) Resolve(r authn.Resource) (authn.Authenticator, error) {
	return c.ResolveContext(context.Background(), r)
}

// ResolveContext implements authn.ContextKeychain.
func (c *credentials) ResolveContext(ctx context.Context, r authn.Resource) (authn.Authenticator, error) {
	auth, err := authn.Resolve(ctx, c.keychain, r)
	if err != nil {
		return nil, credentialsRefusal(r, err)
	}
	config, err := authn.Authorization(ctx, auth)
	if err != nil {
		return nil, credentialsRefusal(r, err)
	}
	c.found.Store(usable(config))
	c.sent.Store(config)
	return auth, nil
}

// usable reports whether there are credentials to send. A name alone is not sent.
func usable(c *authn.AuthConfig) bool {
	return c.Auth != "" || c.IdentityToken != "" || c.RegistryToken != "" || c.Username != "" && c.Password != ""
}

// credentialsRefusal omits the credential helper's output: the helper may have printed the secret
// before it failed.
func credentialsRefusal(r authn.Resource, err error) error {
	reason, _, _ := strings.Cut(err.Error(), ", out: ")
	return refusal("credentials for " + shownHost(r.RegistryStr()) + " (docker's config.json and credential helpers): " + scrub(reason))
}
