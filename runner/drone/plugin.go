package drone

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Plugin is a service of the administrator that a runner asks over HTTP for secrets,
// variables or logins (Drone's extensions of a runner). The zero value is none.
type Plugin struct {
	Endpoint string      // URL
	Secret   string      // that signs requests, and encrypts answers
	TLS      *tls.Config // nil: the system's certificates
}

const (
	pluginTime   = time.Minute // for an answer
	pluginAnswer = 4 << 20     // bytes
)

// Media types by which plugins know what is asked.
const (
	acceptSecret   = "application/vnd.drone.secret.v1+json"
	acceptRegistry = "application/vnd.drone.registry.v1+json"
	acceptEnviron  = "application/vnd.drone.env.v2+json"
)

// signedHeaders are those that the signature covers, in this order.
var signedHeaders = []string{"accept", "accept-encoding", "content-type", "date", "digest"}

// subject is what every request to a plugin is about, as the server told it.
type subject struct {
	Repo  json.RawMessage `json:"repo"`
	Build json.RawMessage `json:"build"`
}

// ask posts a signed request and decodes the answer. found is false when the plugin has
// nothing (204).
func (p *Plugin) ask(ctx context.Context, accept string, in, out any) (found bool, err error) {
	fail := func(err error) (bool, error) { return false, fmt.Errorf("plugin %s: %w", p.address(), err) }
	body, err := json.Marshal(in)
	if err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeout(ctx, pluginTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Endpoint, bytes.NewReader(body))
	if err != nil {
		return fail(err)
	}
	p.sign(request, accept, body, time.Now())
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig, transport.DisableKeepAlives = p.TLS, true
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(request)
	if err != nil {
		return fail(withoutURL(err))
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, pluginAnswer+1))
	switch {
	case err != nil:
		return fail(err)
	case len(data) > pluginAnswer:
		return fail(fmt.Errorf("the answer has more than the %d bytes allowed", pluginAnswer))
	case answer.StatusCode == http.StatusNoContent:
		return false, nil
	case answer.StatusCode >= 300:
		return fail(fmt.Errorf("%s: %s", answer.Status, short(strings.TrimSpace(string(data)))))
	}
	if answer.Header.Get("Content-Encoding") == "aesgcm" {
		if data, err = p.decrypt(data); err != nil {
			return fail(err)
		}
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fail(errors.New("the answer is not the JSON that was asked for")) // which may hold secrets
	}
	return true, nil
}

// address is the endpoint as the log of a build may show it: a password or a token can be in the rest.
func (p *Plugin) address() string {
	u, err := url.Parse(p.Endpoint)
	if err != nil {
		return "with an address that is no URL"
	}
	return u.Scheme + "://" + u.Host
}

// sign adds the headers of an HTTP signature with HMAC and SHA-256
// (draft-cavage-http-signatures), which a plugin checks.
func (p *Plugin) sign(r *http.Request, accept string, body []byte, now time.Time) {
	digest := sha256.Sum256(body)
	for name, value := range map[string]string{
		"Accept": accept, "Accept-Encoding": "identity", "Content-Type": "application/json",
		"Date": now.UTC().Format(http.TimeFormat), "Digest": "SHA-256=" + base64.StdEncoding.EncodeToString(digest[:]),
	} {
		r.Header.Set(name, value)
	}
	var lines []string
	for _, name := range signedHeaders {
		lines = append(lines, name+": "+r.Header.Get(name))
	}
	mac := hmac.New(sha256.New, []byte(p.Secret))
	mac.Write([]byte(strings.Join(lines, "\n")))
	r.Header.Set("Signature", fmt.Sprintf(`keyId="hmac-key",algorithm="hmac-sha256",headers="%s",signature="%s"`,
		strings.Join(signedHeaders, " "), base64.StdEncoding.EncodeToString(mac.Sum(nil))))
}

// decrypt opens nonce ‖ AES-256-GCM, whose key is the start of the secret.
func (p *Plugin) decrypt(sealed []byte) ([]byte, error) {
	const size = 32
	if len(p.Secret) < size {
		return nil, fmt.Errorf("its answer is encrypted, and the secret has fewer than %d bytes", size)
	}
	block, err := aes.NewCipher([]byte(p.Secret)[:size])
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	if len(sealed) < gcm.NonceSize() {
		return nil, errors.New("its encrypted answer is too short")
	}
	plain, err := gcm.Open(nil, sealed[:gcm.NonceSize()], sealed[gcm.NonceSize():], nil)
	if err != nil {
		return nil, errors.New("its encrypted answer cannot be opened with the secret")
	}
	return plain, nil
}

// variable is one that a plugin gives to every step of a build.
type variable struct {
	Name string `json:"name"`
	Data string `json:"data"`
	Mask bool   `json:"mask"`
}

// variables are an answer of either version of the protocol: a list, or a map without masks.
type variables []variable

// UnmarshalJSON reads both.
func (v *variables) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) {
		return json.Unmarshal(data, (*[]variable)(v))
	}
	var all map[string]string
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	for name, value := range all {
		*v = append(*v, variable{Name: name, Data: value})
	}
	return nil
}

// pluginEnviron asks for variables of all steps; nil without a plugin.
func (w *worker) pluginEnviron(ctx context.Context, d *details) (all variables, err error) {
	if w.o.EnvironPlugin.Endpoint == "" {
		return nil, nil
	}
	if _, err := w.o.EnvironPlugin.ask(ctx, acceptEnviron, d.subject(), &all); err != nil {
		return nil, fmt.Errorf("variables: %w", err)
	}
	return all, nil
}

// pluginSecrets asks for the secrets that the file says are elsewhere and that steps use, as far
// as the server does not have them. A pull request gets only those that are meant for it.
func (w *worker) pluginSecrets(ctx context.Context, j *job, d *details, all map[string]string) error {
	if w.o.SecretPlugin.Endpoint == "" {
		return nil
	}
	for _, external := range j.set.External {
		if value, used := all[external.Name]; !used || value != "" {
			continue
		}
		request := struct {
			Path string `json:"path"`
			Name string `json:"name"`
			subject
		}{external.Path, external.Key, d.subject()}
		var answer struct {
			Data        string `json:"data"`
			PullRequest bool   `json:"pull_request"`
		}
		found, err := w.o.SecretPlugin.ask(ctx, acceptSecret, request, &answer)
		if err != nil {
			return fmt.Errorf("secret %q: %w", external.Name, err)
		}
		if found && (answer.PullRequest || d.Build.Event != "pull_request") {
			all[external.Name] = answer.Data
		}
	}
	return nil
}

// pluginLogins asks for logins at registries, and returns them as a docker config.json with the
// passwords; nil without any.
func (w *worker) pluginLogins(ctx context.Context, d *details) (config []byte, passwords []string, err error) {
	if w.o.RegistryPlugin.Endpoint == "" {
		return nil, nil, nil
	}
	var logins []struct{ Address, Username, Password string }
	if _, err := w.o.RegistryPlugin.ask(ctx, acceptRegistry, d.subject(), &logins); err != nil {
		return nil, nil, fmt.Errorf("logins at registries: %w", err)
	}
	type auth struct {
		Auth string `json:"auth"`
	}
	auths := map[string]auth{}
	for _, l := range logins {
		auths[l.Address] = auth{base64.StdEncoding.EncodeToString([]byte(l.Username + ":" + l.Password))}
		passwords = append(passwords, l.Password)
	}
	if len(auths) == 0 {
		return nil, nil, nil
	}
	config, err = json.Marshal(map[string]any{"auths": auths})
	return config, passwords, err
}
