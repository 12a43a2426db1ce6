package provenance_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/provenance"
	"github.com/stepexec/stepexec/signature"
)

// pair is a private key and its public one.
type pair struct {
	private signature.PrivateKey
	public  signature.Key
}

func pairOf(t testing.TB, key crypto.Signer) pair {
	t.Helper()
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	var p pair
	if p.private, err = signature.ParsePrivateKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), ""); err != nil {
		t.Fatal(err)
	}
	if p.public, err = signature.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})); err != nil {
		t.Fatal(err)
	}
	return p
}

func newPair(t testing.TB) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return pairOf(t, key)
}

func statement() *provenance.Statement {
	s := &provenance.Statement{Type: provenance.StatementType, PredicateType: provenance.PredicateType}
	s.Subject = []provenance.Descriptor{{Name: "app/app", Digest: map[string]string{"sha256": strings.Repeat("0", 64)}}}
	s.Predicate.Definition.BuildType = provenance.BuildType
	s.Predicate.Details.Builder.ID = provenance.BuilderID
	return s
}

func sign(t testing.TB, s *provenance.Statement, key pair) []byte {
	t.Helper()
	text, err := provenance.Sign(s, key.private)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestWhatAKeyOfAnyKindHasSignedIsVerified(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]pair{"ECDSA": newPair(t), "Ed25519": pairOf(t, ed), "RSA": pairOf(t, long)} {
		text := sign(t, statement(), key)
		all, err := provenance.Verify(append(text, text...), []signature.Key{newPair(t).public, key.public})
		if err != nil || len(all) != 2 || all[1].Subject[0].Name != "app/app" {
			t.Errorf("%s: %d statements, %v", name, len(all), err)
		}
		if _, err := provenance.Verify(text, []signature.Key{newPair(t).public}); !errors.Is(err, provenance.ErrWrongKey) {
			t.Errorf("%s, another key: %v", name, err)
		}
	}
}

// resigned is a statement with changed text, signed by the key.
func resigned(t *testing.T, key pair, payloadType string, change func(string) string) []byte {
	t.Helper()
	payload, err := json.Marshal(statement())
	if err != nil {
		t.Fatal(err)
	}
	e, err := key.private.Sign(payloadType, []byte(change(string(payload))))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(provenance.Envelope{PayloadType: e.PayloadType, Payload: e.Payload, Signatures: []provenance.Signature{{Sig: e.Signature}}})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestWhatIsNotAWholeSignedStatementIsRefused(t *testing.T) {
	key := newPair(t)
	good := sign(t, statement(), key)
	same := func(s string) string { return s }
	replaced := func(old, new string) func(string) string {
		return func(s string) string {
			if !strings.Contains(s, old) {
				t.Fatalf("no %s in %s", old, s)
			}
			return strings.Replace(s, old, new, 1)
		}
	}
	envelope := func(old, new string) []byte { return []byte(replaced(old, new)(string(good))) }
	for want, text := range map[string][]byte{
		"the file is empty":                       nil,
		"unexpected EOF":                          good[:len(good)/2],
		"envelope 2: ":                            append(bytes.Clone(good), "x"...),
		"the provenance is not signed (run":       []byte(`{"_type":"https://in-toto.io/Statement/v1"}`),
		"the provenance is not signed":            []byte(`{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[]}`),
		`type "text/plain"`:                       resigned(t, key, "text/plain", same),
		"no signature":                            envelope(`"payload":"eyJ`, `"payload":"eyK`),
		`key "payload" comes twice`:               envelope(`"payload":`, `"payload":"e30=","payload":`),
		`key "payload" comes`:                     envelope(`"payload":`, `"PAYLOAD":"e30=","payload":`),
		`key "ſubject" comes twice`:               resigned(t, key, provenance.PayloadType, replaced(`"predicateType":`, `"ſubject":[],"predicateType":`)),
		`key "sha256" comes twice`:                resigned(t, key, provenance.PayloadType, replaced(`"sha256":`, `"sha256":"1","sha256":`)),
		"the statement: it is not JSON":           resigned(t, key, provenance.PayloadType, func(s string) string { return s + "{}" }),
		`the statement is of type "https://in-`:   resigned(t, key, provenance.PayloadType, replaced("Statement/v1", "Statement/v2")),
		`says "https://slsa.dev/provenance/v0.2"`: resigned(t, key, provenance.PayloadType, replaced("provenance/v1", "provenance/v0.2")),
		`build is of type "https://github.com/x"`: resigned(t, key, provenance.PayloadType, replaced(provenance.BuildType, "https://github.com/x")),
		`the subject "app/app" has no SHA-256`:    resigned(t, key, provenance.PayloadType, replaced("sha256", "sha1")),
		"the statement has no subject":            resigned(t, key, provenance.PayloadType, func(s string) string { return s[:strings.Index(s, "[{")] + "[" + s[strings.Index(s, "],"):] }),
		"exceeded max depth":                      []byte(strings.Repeat("[", 20_000)),
	} {
		all, err := provenance.Verify(text, []signature.Key{key.public})
		if err == nil || all != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d statements, %v; want %q", len(all), err, want)
		}
	}
}

// FuzzVerify holds that nothing is verified but what the key has signed.
func FuzzVerify(f *testing.F) {
	key := newPair(f)
	good := sign(f, statement(), key)
	f.Add(good)
	f.Add([]byte(`{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"sig":"YQ=="}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := provenance.Verify(text, []signature.Key{key.public})
		if (err == nil) == (len(all) == 0) {
			t.Fatal(len(all), err)
		}
		for _, s := range all {
			if s.Subject[0].Name != "app/app" {
				t.Fatalf("%+v", s)
			}
		}
	})
}
