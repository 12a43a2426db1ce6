package pull

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// identityRounds slow down guessing a password from the result of Identity.
const identityRounds = 20_000

// Identity returns a word for an image together with the credentials that Resolve would send to its
// registry. Equal credentials give equal words; the word does not reveal them.
func Identity(ctx context.Context, ref Reference, o Options) (string, error) {
	repository, err := name.NewRepository(ref.Name)
	if err != nil {
		return "", fmt.Errorf("pull %s: %w", ref, err)
	}
	keychain := o.Keychain
	if keychain == nil {
		keychain = machineKeychain(defaultHelperTimeout)
	}
	auth, err := (&credentials{keychain: keychain}).ResolveContext(ctx, repository)
	if err != nil {
		return "", fmt.Errorf("pull %s: %w", ref, err)
	}
	config, err := authn.Authorization(ctx, auth)
	if err != nil {
		return "", credentialsRefusal(repository, err)
	}
	text := strings.Join([]string{config.Username, config.Password, config.Auth, config.IdentityToken, config.RegistryToken}, "\x00")
	key, err := pbkdf2.Key(sha256.New, text, []byte(ref.String()), identityRounds, sha256.Size)
	return hex.EncodeToString(key), err
}
