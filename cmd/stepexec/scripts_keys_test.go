package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
)

// keypairCommand is `keypair NAME [PASSWORD]`: it makes NAME.key and NAME.pub, as `cosign
// generate-key-pair` does, or without PASSWORD a NAME.key in the clear, in the form of PKCS #8.
func keypairCommand(ts *testscript.TestScript, _ bool, args []string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(ts, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	check(ts, err)
	block := &pem.Block{Type: "PRIVATE KEY", Bytes: private}
	if len(args) > 1 {
		block.Type = "ENCRYPTED SIGSTORE PRIVATE KEY"
		block.Bytes, err = encrypted.Encrypt(private, []byte(args[1]))
		check(ts, err)
	}
	check(ts, os.WriteFile(ts.MkAbs(args[0]+".key"), pem.EncodeToMemory(block), 0o600))
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	check(ts, err)
	check(ts, os.WriteFile(ts.MkAbs(args[0]+".pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o600))
}
