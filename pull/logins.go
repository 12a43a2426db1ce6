package pull

import (
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
)

// Login is a user name and password for a registry.
type Login struct{ Username, Password string }

// Logins returns a keychain of logins by HOST or HOST:PORT, as in references. For hosts without a
// login it uses docker's config.json, as when there is no keychain.
func Logins(byHost map[string]Login) authn.Keychain {
	known := loginKeychain{}
	for host, login := range byHost {
		known[hostKey(host)] = login
	}
	return authn.NewMultiKeychain(known, machineKeychain(defaultHelperTimeout))
}

type loginKeychain map[string]Login

// Resolve implements authn.Keychain.
func (k loginKeychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	login, known := k[hostKey(target.RegistryStr())]
	if !known {
		return authn.Anonymous, nil
	}
	return &authn.Basic{Username: login.Username, Password: login.Password}, nil
}

// RegistryOf returns the registry of an image in the form that Logins and Registries use, or "" for
// an image of this machine and for an invalid reference.
func RegistryOf(image string) string {
	ref, err := ParseReference(image)
	if err != nil || ref.Scheme != SchemeRegistry {
		return ""
	}
	host, _, _ := strings.Cut(ref.Name, "/")
	return hostKey(host)
}
