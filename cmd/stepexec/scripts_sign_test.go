package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/stepexec/stepexec/signature"
)

// signCommand is `sign HOW KEY REF [OF]`: it signs the image REF as cosign does, or claims that
// the signature of OF is of REF, with the key KEY.pem, which it makes together with KEY.pub. HOW is
// tag, referrer, bundle, provenance, certificate (keyless, in a bundle), certificatetag or notation.
func signCommand(ts *testscript.TestScript, _ bool, args []string) {
	how, key := args[0], signingKey(ts, args[1])
	ref, err := name.ParseReference(args[2])
	check(ts, err)
	subject, err := remote.Head(ref)
	check(ts, err)
	signed := *subject
	if len(args) > 3 {
		other, err := name.ParseReference(args[3])
		check(ts, err)
		of, err := remote.Head(other)
		check(ts, err)
		signed = *of
	}
	blob, mediaType, annotations := signedBlob(ts, how, key, signed.Digest)
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img, err = mutate.Append(img, mutate.Addendum{Layer: static.NewLayer(blob, mediaType), Annotations: annotations, MediaType: mediaType})
	check(ts, err)
	if how == "tag" || how == "certificatetag" {
		check(ts, remote.Write(ref.Context().Tag("sha256-"+subject.Digest.Hex+".sig"), img))
		return
	}
	artifact := types.MediaType("application/vnd.dev.cosign.artifact.sig.v1+json")
	switch how {
	case "referrer":
	case "notation":
		artifact = signature.Notation
	default:
		artifact = mediaType
	}
	img = mutate.Subject(mutate.ConfigMediaType(img, artifact), *subject).(v1.Image)
	d, err := img.Digest()
	check(ts, err)
	check(ts, remote.Write(ref.Context().Digest(d.String()), img))
}

// signedBlob returns a signature as cosign stores it.
func signedBlob(ts *testscript.TestScript, how string, key *ecdsa.PrivateKey, of v1.Hash) (blob []byte, mediaType types.MediaType, annotations map[string]string) {
	sign := func(message []byte) string {
		sum := sha256.Sum256(message)
		made, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
		check(ts, err)
		return base64.StdEncoding.EncodeToString(made)
	}
	material := map[string]any{"publicKey": map[string]string{"hint": "x"}}
	switch how {
	case "certificate":
		material = map[string]any{"certificate": map[string][]byte{"rawBytes": []byte("x")}}
	case "notation":
		return []byte("jws"), "application/jose+json", nil
	case "tag", "referrer", "certificatetag":
		payload := fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":"x"},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, of)
		annotations := map[string]string{"dev.cosignproject.cosign/signature": sign(payload)}
		if how == "certificatetag" {
			annotations["dev.sigstore.cosign/certificate"] = "x"
		}
		return payload, signature.SimpleSigning, annotations
	}
	predicate := "https://sigstore.dev/cosign/sign/v1"
	if how == "provenance" {
		predicate = "https://slsa.dev/provenance/v1"
	}
	const payloadType = "application/vnd.in-toto+json"
	statement := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q}}],"predicateType":%q,"predicate":{}}`, of.Hex, predicate)
	envelope := fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(statement), statement)
	mediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"
	blob, err := json.Marshal(map[string]any{
		"mediaType": mediaType, "verificationMaterial": material,
		"dsseEnvelope": map[string]any{"payload": []byte(statement), "payloadType": payloadType, "signatures": []map[string]string{{"sig": sign(envelope)}}},
	})
	check(ts, err)
	return blob, mediaType, nil
}

// signingKey reads or makes a key.
func signingKey(ts *testscript.TestScript, path string) *ecdsa.PrivateKey {
	file := ts.MkAbs(path + ".pem")
	if data, err := os.ReadFile(file); err == nil {
		key, err := x509.ParseECPrivateKey(data)
		check(ts, err)
		return key
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(ts, err)
	private, err := x509.MarshalECPrivateKey(key)
	check(ts, err)
	check(ts, os.WriteFile(file, private, 0o600))
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	check(ts, err)
	check(ts, os.WriteFile(ts.MkAbs(path+".pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o600))
	return key
}
