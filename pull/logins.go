package pull

import (
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
)

// Login is a user's name and password at a registry.
type Login struct{ Username, Password string }

// Logins returns a keychain of logins by HOST or HOST:PORT, as references have it. Hosts
// without one go by docker's config.json, as they do without a keychain.
func Logins(byHost map[string]Login) authn.Keychain {
	known := loginKeychain{}
	for host, login := range byHost {
		known[hostKey(host)] = login
	}
	return authn.NewMultiKeychain(known, machineKeychain(defaultHelperTimeout))
}

type loginKeychain map[string]Login

// Resolve is for authn.Keychain.
func (k loginKeychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	login, known := k[hostKey(target.RegistryStr())]
	if !known {
		return authn.Anonymous, nil
	}
	return &authn.Basic{Username: login.Username, Password: login.Password}, nil
}

// RegistryOf returns the registry of an image, as Logins and Registries have it; "" for one
// of this machine, or what is no reference.
func RegistryOf(image string) string {
	ref, err := ParseReference(image)
	if err != nil || ref.Scheme != SchemeRegistry {
		return ""
	}
	host, _, _ := strings.Cut(ref.Name, "/")
	return hostKey(host)
}
