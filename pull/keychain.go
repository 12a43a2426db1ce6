package pull

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// defaultHelperTimeout is how long a credential helper may take. Some helpers ask a cloud service.
const defaultHelperTimeout = 30 * time.Second

// machineKeychain returns the credentials of this machine: $DOCKER_AUTH_CONFIG, the credential
// helpers in docker's config.json, then everything else that authn.DefaultKeychain supports.
func machineKeychain(helperTimeout time.Duration) authn.Keychain {
	return authn.NewMultiKeychain(environmentKeychain{}, helperKeychain{helperTimeout}, authn.DefaultKeychain)
}

// clientConfig is the part of docker's config.json that is read here.
type clientConfig struct {
	Auths map[string]struct {
		Auth          string `json:"auth"` // base64 of USER:PASSWORD
		Username      string `json:"username"`
		Password      string `json:"password"`
		IdentityToken string `json:"identitytoken"`
		RegistryToken string `json:"registrytoken"`
	} `json:"auths"`
	CredsStore  string            `json:"credsStore"`
	CredHelpers map[string]string `json:"credHelpers"`
}

// environmentKeychain reads $DOCKER_AUTH_CONFIG, which CI systems set to the text of a config.json.
type environmentKeychain struct{}

// Resolve implements authn.Keychain.
func (environmentKeychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	text := os.Getenv("DOCKER_AUTH_CONFIG")
	if text == "" {
		return authn.Anonymous, nil
	}
	var config clientConfig
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		return nil, errors.New("the variable DOCKER_AUTH_CONFIG is not valid JSON") // the JSON error could quote a part of it
	}
	for host, entry := range config.Auths {
		if serverHost(host) != hostKey(target.RegistryStr()) {
			continue
		}
		auth := authn.AuthConfig{
			Username: entry.Username, Password: entry.Password, IdentityToken: entry.IdentityToken, RegistryToken: entry.RegistryToken,
		}
		if entry.Auth != "" {
			decoded, err := base64.StdEncoding.DecodeString(strings.TrimRight(entry.Auth, "\x00"))
			user, password, found := strings.Cut(string(decoded), ":")
			if err != nil || !found {
				return nil, fmt.Errorf("the variable DOCKER_AUTH_CONFIG: auth of %s is not base64 of USER:PASSWORD", serverHost(host))
			}
			auth.Username, auth.Password = user, password
		}
		return authn.FromConfig(auth), nil
	}
	return authn.Anonymous, nil
}

// serverHost returns the host of a key such as https://index.docker.io/v1/.
func serverHost(key string) string {
	if _, rest, found := strings.Cut(key, "://"); found {
		key = rest
	}
	host, _, _ := strings.Cut(key, "/")
	return hostKey(host)
}

// helperKeychain runs the credential helpers in docker's config.json. The library would wait
// forever for a helper that hangs, and so would the build.
type helperKeychain struct{ timeout time.Duration }

// Resolve implements authn.Keychain.
func (k helperKeychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), target)
}

// ResolveContext implements authn.ContextKeychain.
func (k helperKeychain) ResolveContext(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	config, ok := readClientConfig()
	if !ok {
		return authn.Anonymous, nil // the library reports what is wrong with it
	}
	server := target.RegistryStr()
	if server == name.DefaultRegistry {
		server = authn.DefaultAuthKey
	}
	helper := config.CredHelpers[server]
	if helper == "" {
		helper = config.CredsStore
	}
	if helper == "" || strings.ContainsAny(helper, "/\x00") {
		return authn.Anonymous, nil
	}
	return k.run(ctx, "docker-credential-"+helper, server)
}

func readClientConfig() (config clientConfig, ok bool) {
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return config, false
		}
		dir = filepath.Join(home, ".docker")
	}
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	return config, err == nil && json.Unmarshal(data, &config) == nil
}

// run runs a helper (docker's credential helper protocol: the server on standard input, JSON on
// standard output).
func (k helperKeychain) run(ctx context.Context, program, server string) (authn.Authenticator, error) {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "get")
	cmd.Stdin = strings.NewReader(server)
	var out bytes.Buffer
	cmd.Stdout = &out
	err := runGroup(cmd)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, fmt.Errorf("credential helper %s gave no answer within %s", program, k.timeout)
	case err != nil && strings.Contains(out.String(), "credentials not found"):
		return authn.Anonymous, nil
	case err != nil:
		return nil, fmt.Errorf("credential helper %s: %w", program, err) // without its output, which may hold the secret
	}
	var got struct{ Username, Secret string }
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		return nil, fmt.Errorf("credential helper %s: its answer is not valid JSON", program)
	}
	if got.Username == "<token>" {
		return authn.FromConfig(authn.AuthConfig{IdentityToken: got.Secret}), nil
	}
	return authn.FromConfig(authn.AuthConfig{Username: got.Username, Password: got.Secret}), nil
}
