package signature

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
)

// Key is a public key of cosign.
type Key struct {
	Name   string // as the rule names it: its file
	public crypto.PublicKey
}

// maxKeyFile bounds a key's file, in bytes.
const maxKeyFile = 64 << 10

// ReadKey reads a public key from a PEM file, as `cosign generate-key-pair` writes it: ECDSA,
// Ed25519 or RSA of at least 2048 bits.
func ReadKey(file string) (Key, error) {
	data, err := readKeyFile(file)
	if err != nil {
		return Key{}, err
	}
	key, err := ParseKey(data)
	if err != nil {
		return Key{}, fmt.Errorf("%s: %w", file, err)
	}
	key.Name = file
	return key, nil
}

func readKeyFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxKeyFile))
}

// ParseKey parses the text of such a file.
func ParseKey(data []byte) (Key, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PUBLIC KEY" {
		return Key{}, errors.New("it is not a PEM file of a public key (cosign.pub, not cosign.key)")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return Key{}, fmt.Errorf("it is not a public key: %w", err)
	}
	return newKey(public)
}

// Verifies reports whether the key has made the signature.
func (k Key) Verifies(e Evidence) bool {
	message := e.signed()
	sum := sha256.Sum256(message)
	switch public := k.public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(public, sum[:], e.Signature)
	case ed25519.PublicKey:
		return ed25519.Verify(public, message, e.Signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], e.Signature) == nil ||
			rsa.VerifyPSS(public, crypto.SHA256, sum[:], e.Signature, nil) == nil
	}
	return false
}
