package signature_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/stepexec/stepexec/signature"
)

func TestPatterns(t *testing.T) {
	for pattern, names := range map[string]struct{ yes, no []string }{
		"docker.io/library/*":     {[]string{"docker.io/library/golang"}, []string{"docker.io/library/a/b", "docker.io/libraryx/a", "evil.example/docker.io/library/a"}},
		"registry.example.com/**": {[]string{"registry.example.com/a", "registry.example.com/a/b/c"}, []string{"registry.example.com.evil/a", "registry.example.com"}},
		"*/team/app":              {[]string{"a.example/team/app"}, []string{"a.example/x/team/app", "team/app"}},
		"**":                      {[]string{"docker.io/library/golang"}, nil},
		"docker.io/library/go":    {[]string{"docker.io/library/go"}, []string{"docker.io/library/golang", "docker.io/library/g"}},
	} {
		rules := signature.Rules{{Images: pattern}}
		for _, name := range names.yes {
			if rules.For(name) == nil {
				t.Errorf("%s does not match %s", pattern, name)
			}
		}
		for _, name := range names.no {
			if rules.For(name) != nil {
				t.Errorf("%s matches %s", pattern, name)
			}
		}
	}
	rules := signature.Rules{{Images: "a.example/free/*", Unsigned: true}, {Images: "a.example/**"}}
	if rules.For("a.example/free/x") != nil || rules.For("a.example/y") == nil {
		t.Error("the first rule that matches does not decide")
	}
	for _, bad := range []string{"", "a b", "a@b", "a[b]", strings.Repeat("*", 17), strings.Repeat("a", 301)} {
		if signature.CheckPattern(bad) == nil {
			t.Errorf("%q is a pattern", bad)
		}
	}
}

func publicPEM(t *testing.T, key crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func TestKeysOfEveryKind(t *testing.T) {
	image := digest.FromString("an image")
	payload := fmt.Appendf(nil, `{"critical":{"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"}}`, image)
	sum := sha256.Sum256(payload)
	edPublic, edPrivate, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaSigned, err := rsa.SignPKCS1v15(rand.Reader, rsaKey, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ public, signed []byte }{
		"Ed25519": {publicPEM(t, edPublic), ed25519.Sign(edPrivate, payload)},
		"RSA":     {publicPEM(t, rsaKey.Public()), rsaSigned},
	} {
		key, err := signature.ParseKey(c.public)
		if err != nil {
			t.Fatal(err)
		}
		rule := signature.Rule{Images: "**", Keys: []signature.Key{key}}
		if _, err := rule.Verify("x", []signature.Evidence{{Payload: payload, Signature: c.signed}}, image); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for what, e := range map[string]signature.Evidence{
			"changed payload":   {Payload: append([]byte(" "), payload...), Signature: c.signed},
			"changed signature": {Payload: payload, Signature: append([]byte{1}, c.signed[1:]...)},
			"no signature":      {Payload: payload},
			"as an envelope":    {PayloadType: "application/vnd.in-toto+json", Payload: payload, Signature: c.signed},
		} {
			if _, err := rule.Verify("x", []signature.Evidence{e}, image); !errors.Is(err, signature.ErrUnsigned) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		if _, err := rule.Verify("x", []signature.Evidence{{Payload: payload, Signature: c.signed}}, digest.FromString("another")); !errors.Is(err, signature.ErrUnsigned) {
			t.Errorf("%s, another image: %v", name, err)
		}
	}
}

func TestKeysThatAreNone(t *testing.T) {
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip(err) // this Go refuses to make one
	}
	for want, data := range map[string][]byte{
		"it is not a PEM file":  []byte("ssh-ed25519 AAAA"),
		"it is not a PEM file ": pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: []byte("x")}),
		"it is not a public":    pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}),
		"too short":             publicPEM(t, short.Public()),
	} {
		if _, err := signature.ParseKey(data); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestPrivateKeysThatAreNone(t *testing.T) {
	block := func(kind, text string) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(text)}) }
	scrypt := func(params string) []byte {
		return block("ENCRYPTED SIGSTORE PRIVATE KEY", `{"kdf":{"name":"scrypt","params":`+params+`,"salt":"YQ=="},"cipher":{"name":"nacl/secretbox","nonce":"YQ=="},"ciphertext":"YQ=="}`)
	}
	short, err := x509.MarshalPKCS8PrivateKey(smallRSA(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"another file":      {[]byte("ssh-ed25519 AAAA"), "it is not a PEM file"},
		"a public key":      {block("PUBLIC KEY", "x"), "it is a public key"},
		"an OpenSSH key":    {block("OPENSSH PRIVATE KEY", "x"), `a "OPENSSH PRIVATE KEY" cannot be used`},
		"a damaged key":     {block("PRIVATE KEY", "x"), "asn1"},
		"a damaged box":     {block("ENCRYPTED COSIGN PRIVATE KEY", "x"), "its encrypted part is not JSON"},
		"too much memory":   {scrypt(`{"N":1073741824,"r":8,"p":1}`), "out of bounds"},
		"an overflow":       {scrypt(`{"N":1024,"r":9223372036854775807,"p":1}`), "out of bounds"},
		"a negative number": {scrypt(`{"N":1024,"r":-8,"p":1}`), "out of bounds"},
		"too much work":     {scrypt(`{"N":1024,"r":8,"p":1000000}`), "out of bounds"},
		"other parameters":  {scrypt(`{"N":1024,"r":8,"p":1}`), "it cannot be decrypted"},
		"a short RSA key":   {block("PRIVATE KEY", string(short)), "too short"},
	} {
		if _, err := signature.ParsePrivateKey(c.data, "password"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func smallRSA(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func FuzzParse(f *testing.F) {
	f.Add("application/vnd.dev.sigstore.bundle.v0.3+json", "", []byte(`{"dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"YQ=="}]}}`))
	f.Add(signature.SimpleSigning, "YQ==", []byte(`{"critical":{}}`))
	f.Fuzz(func(t *testing.T, mediaType, signed string, blob []byte) {
		all := signature.Parse(mediaType, map[string]string{"dev.cosignproject.cosign/signature": signed}, blob)
		if _, err := (&signature.Rule{}).Verify("x", all); !errors.Is(err, signature.ErrUnsigned) {
			t.Fatal("signed without a key", err)
		}
	})
}
