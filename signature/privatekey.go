package signature

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
)

// PrivateKey signs what a [Key] verifies.
type PrivateKey struct {
	signer    crypto.Signer
	encrypted bool
}

// IsEncrypted reports whether the file that the key was read from does not tell the key by itself.
func (k PrivateKey) IsEncrypted() bool { return k.encrypted }

// The names that cosign gives to its encrypted keys, the present one first.
const (
	sigstoreKey = "ENCRYPTED SIGSTORE PRIVATE KEY"
	cosignKey   = "ENCRYPTED COSIGN PRIVATE KEY"
)

// ReadPrivateKey reads a private key from a PEM file: one that `cosign generate-key-pair` has
// encrypted with the password, or one in the clear, as `openssl genpkey` writes it: ECDSA, Ed25519
// or RSA of at least 2048 bits.
func ReadPrivateKey(file, password string) (PrivateKey, error) {
	data, err := readKeyFile(file)
	if err != nil {
		return PrivateKey{}, err
	}
	key, err := ParsePrivateKey(data, password)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

// ParsePrivateKey parses the text of such a file.
func ParsePrivateKey(data []byte, password string) (PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return PrivateKey{}, errors.New("it is not a PEM file of a private key")
	}
	parsed, err := parsePrivate(block, password)
	if err != nil {
		return PrivateKey{}, err
	}
	signer, ok := parsed.(crypto.Signer)
	if !ok {
		return PrivateKey{}, fmt.Errorf("keys of type %T are not supported", parsed)
	}
	if _, err := newKey(signer.Public()); err != nil {
		return PrivateKey{}, err
	}
	return PrivateKey{signer, block.Type == sigstoreKey || block.Type == cosignKey}, nil
}

func parsePrivate(block *pem.Block, password string) (any, error) {
	switch block.Type {
	case sigstoreKey, cosignKey:
		if err := checkScrypt(block.Bytes); err != nil {
			return nil, err
		}
		plain, err := encrypted.Decrypt(block.Bytes, []byte(password))
		if err != nil {
			return nil, errors.New("it cannot be decrypted: the password is wrong, or the file is damaged")
		}
		return x509.ParsePKCS8PrivateKey(plain)
	case "PRIVATE KEY":
		return x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	case "PUBLIC KEY":
		return nil, errors.New("it is a public key (want the private one, such as cosign.key)")
	}
	return nil, fmt.Errorf("a %.60q cannot be used (want a key of cosign, or a PRIVATE KEY in the form of PKCS #8)", block.Type)
}

// maxScrypt bounds the memory that a key's file may ask for, in bytes: 128 N r of scrypt (RFC 7914).
const maxScrypt = 1 << 30

// checkScrypt returns an error for a key whose decryption would take too much memory.
func checkScrypt(data []byte) error {
	var key struct {
		KDF struct {
			Params struct{ N, R, P int64 }
		}
	}
	if err := json.Unmarshal(data, &key); err != nil {
		return errors.New("it is damaged: its encrypted part is not JSON")
	}
	p := key.KDF.Params
	if p.N <= 0 || p.R <= 0 || p.P <= 0 || p.P > 16 || p.R > 64 || p.N > maxScrypt/128/p.R {
		return errors.New("its parameters of scrypt are out of bounds")
	}
	return nil
}

// Sign signs a payload as a DSSE envelope of its type has it (DSSE protocol).
func (k PrivateKey) Sign(payloadType string, payload []byte) (Evidence, error) {
	e := Evidence{PayloadType: payloadType, Payload: payload}
	message := e.signed()
	var err error
	if _, whole := k.signer.(ed25519.PrivateKey); whole {
		e.Signature, err = k.signer.Sign(rand.Reader, message, crypto.Hash(0))
	} else {
		sum := sha256.Sum256(message)
		e.Signature, err = k.signer.Sign(rand.Reader, sum[:], crypto.SHA256)
	}
	return e, err
}

// newKey is a Key, or an error for a key that is too weak or of a kind that is not supported.
func newKey(public crypto.PublicKey) (Key, error) {
	switch k := public.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
	case *rsa.PublicKey:
		if k.Size() < 256 {
			return Key{}, fmt.Errorf("an RSA key of %d bits is too short (want 2048)", 8*k.Size())
		}
	default:
		return Key{}, fmt.Errorf("keys of type %T are not supported", public)
	}
	return Key{public: public}, nil
}
