package drone

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/stepexec/stepexec/pipeline"
)

// secrets reads the documents of kind secret. Those that are encrypted are decrypted when
// the key is there; others, and those that are only named, stay unknown.
func (p *parser) secrets(documents []document) {
	for _, d := range documents {
		if d.kind != "secret" {
			continue
		}
		data, given := d.Get("data")
		if !given || data.Kind() == "null" {
			p.external(d) // of another place, which the server or the runner has
			continue
		}
		if data.Kind() == "map" { // of the first releases: several of them
			for _, entry := range data.Entries() {
				p.decrypted(entry.Name, entry.Node)
			}
			continue
		}
		if d.name == "" {
			p.Missing(d.Node, "name")
			continue
		}
		p.decrypted(d.name, data)
	}
}

// external notes a secret of another place.
func (p *parser) external(d document) {
	get, given := d.Get("get")
	if !given || get.Kind() != "map" {
		return
	}
	e := pipeline.ExternalSecret{Name: d.name}
	p.object(get, fields{
		"path": func(n pipeline.Node) { e.Path = p.Text(n) },
		"name": func(n pipeline.Node) { e.Key = p.Text(n) },
		"key":  func(n pipeline.Node) { e.Key = p.Text(n) }, // of the first releases
	})
	if e.Name != "" && e.Path != "" {
		p.set.External = append(p.set.External, e)
	}
}

func (p *parser) decrypted(name string, data pipeline.Node) {
	text := p.Text(data)
	if p.o.SecretKey == "" || text == "" {
		return
	}
	plain, err := decrypt(p.o.SecretKey, text)
	if err != nil {
		p.Wrong(data, fmt.Sprintf("decrypt secret %q: %v", name, err), "it is encrypted for one repository: drone encrypt OWNER/NAME VALUE")
		return
	}
	if plain != "" {
		p.set.Secrets[name] = plain
	}
}

// decrypt opens base64(nonce ‖ AES-256-GCM).
func decrypt(key, text string) (string, error) {
	sealed, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return "", errors.New("not base64")
	}
	block, err := aes.NewCipher([]byte(key))
	if err != nil {
		return "", errors.New("the key of the repository has not 32 bytes")
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return "", err
	}
	if len(sealed) < gcm.NonceSize() {
		return "", errors.New("too short")
	}
	plain, err := gcm.Open(nil, sealed[:gcm.NonceSize()], sealed[gcm.NonceSize():], nil)
	if err != nil {
		return "", errors.New("encrypted with another key, or damaged")
	}
	return string(plain), nil
}
