package pull

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// maxSaid bounds the quotation from a registry's own message, in bytes.
const maxSaid = 300

// tokenLike matches possible tokens in a registry's message, but not digests.
var tokenLike = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(sha256:)?[A-Za-z0-9+_=~.-]{40,}`) })

// said returns the messages of a registry's error (distribution specification, "Error codes"),
// quoted as ` (the registry says "…")`, or "". They explain vulnerabilities, quotas and policies.
// They are foreign text: control characters are escaped, and anything that may be a credential of
// the request is removed.
func (e *endpoint) said(status *transport.Error) string {
	var messages []string
	for _, d := range status.Errors {
		text := d.Message
		if text == "" || strings.EqualFold(text, string(d.Code)) {
			continue
		}
		text = tokenLike().ReplaceAllStringFunc(scrub(e.credentials.mask(text)), func(found string) string {
			if strings.HasPrefix(found, "sha256:") {
				return found
			}
			return "***"
		})
		messages = append(messages, text)
	}
	if len(messages) == 0 {
		return ""
	}
	text := strings.Join(messages, "; ")
	if len(text) > maxSaid {
		text = strings.ToValidUTF8(text[:maxSaid], "") + "…"
	}
	return fmt.Sprintf(" (the registry says %q)", text)
}

// mask removes the credentials that were sent from a text.
func (c *credentials) mask(text string) string {
	sent := c.sent.Load()
	if sent == nil {
		return text
	}
	basic := base64.StdEncoding.EncodeToString([]byte(sent.Username + ":" + sent.Password))
	for _, secret := range []string{sent.Password, basic, sent.Auth, sent.IdentityToken, sent.RegistryToken} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return text
}
