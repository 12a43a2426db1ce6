package signature

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Media types of what is attached to an image, and annotations of cosign.
const (
	SimpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json"
	bundlePrefix  = "application/vnd.dev.sigstore.bundle" // .v0.3+json and later
	inTotoPayload = "application/vnd.in-toto+json"

	signatureAnnotation   = "dev.cosignproject.cosign/signature"
	certificateAnnotation = "dev.sigstore.cosign/certificate"

	// Notation is the artifact type of signatures of notation (Notary Project, "Signature
	// specification").
	Notation = "application/vnd.cncf.notary.signature"
)

// Kinds of signatures that no key of a rule can verify. They are known only so that an error can
// name them.
const (
	KindCertificate = "certificate" // of sigstore: "keyless", by a certificate for an identity
	KindNotation    = "notation"
)

// Evidence is a signature and what it is about. It is worth nothing before a key verifies it.
type Evidence struct {
	// PayloadType is that of a DSSE envelope, "" for a simple signing payload.
	PayloadType string `json:"payloadType,omitempty"`
	Payload     []byte `json:"payload"`
	Signature   []byte `json:"signature"`
	// Kind is "" for a signature that may be of a key, otherwise one of the constants.
	Kind string `json:"kind,omitempty"`
}

// Parse returns the evidence in a blob that is attached to an image, or nil when it holds none
// that this package knows: what others attach is not an error.
func Parse(mediaType string, annotations map[string]string, blob []byte) []Evidence {
	switch {
	case mediaType == SimpleSigning:
		signature, err := base64.StdEncoding.DecodeString(annotations[signatureAnnotation])
		if err != nil || len(signature) == 0 {
			return nil
		}
		return []Evidence{{Payload: blob, Signature: signature, Kind: kindOf(annotations[certificateAnnotation] != "")}}
	case strings.HasPrefix(mediaType, bundlePrefix):
		return parseBundle(blob)
	}
	return nil
}

// IsBundle reports whether an artifact type is one of a sigstore bundle.
func IsBundle(artifactType string) bool { return strings.HasPrefix(artifactType, bundlePrefix) }

// parseBundle reads the DSSE envelope of a sigstore bundle (bundle specification, 0.3).
func parseBundle(blob []byte) []Evidence {
	var bundle struct {
		Envelope struct {
			Payload     []byte `json:"payload"`
			PayloadType string `json:"payloadType"`
			Signatures  []struct {
				Sig []byte `json:"sig"`
			} `json:"signatures"`
		} `json:"dsseEnvelope"`
		Material struct {
			Certificate json.RawMessage `json:"certificate"`
			Chain       json.RawMessage `json:"x509CertificateChain"` // until version 0.2
		} `json:"verificationMaterial"`
	}
	if json.Unmarshal(blob, &bundle) != nil || bundle.Envelope.PayloadType != inTotoPayload {
		return nil
	}
	kind := kindOf(bundle.Material.Certificate != nil || bundle.Material.Chain != nil)
	var all []Evidence
	for _, s := range bundle.Envelope.Signatures {
		all = append(all, Evidence{bundle.Envelope.PayloadType, bundle.Envelope.Payload, s.Sig, kind})
	}
	return all
}

func kindOf(hasCertificate bool) string {
	if hasCertificate {
		return KindCertificate
	}
	return ""
}

// signed returns the bytes that were signed: the payload, or what DSSE makes of it (DSSE
// protocol, "Pre-Authentication Encoding").
func (e Evidence) signed() []byte {
	if e.PayloadType == "" {
		return e.Payload
	}
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(e.PayloadType), e.PayloadType, len(e.Payload), e.Payload)
}

// isFor returns an error unless the payload says that one of the digests was signed as an image.
func (e Evidence) isFor(digests []digest.Digest) error {
	if e.PayloadType != "" {
		return e.isStatementFor(digests)
	}
	// cosign, specs/SIGNATURE_SPEC.md.
	var payload struct {
		Critical struct {
			Type  string `json:"type"`
			Image struct {
				Digest digest.Digest `json:"docker-manifest-digest"`
			} `json:"image"`
		} `json:"critical"`
	}
	if err := json.Unmarshal(e.Payload, &payload); err != nil {
		return errors.New("its signature is of something that is not JSON")
	}
	if payload.Critical.Type != "cosign container image signature" {
		return fmt.Errorf("its signature is of %.100q, not of an image", payload.Critical.Type)
	}
	return among(payload.Critical.Image.Digest, digests)
}

// isStatementFor reads an in-toto statement (in-toto attestation framework, "Statement"). Other
// attestations, such as provenance, are signed too and say nothing about consent to run it.
func (e Evidence) isStatementFor(digests []digest.Digest) error {
	var statement struct {
		PredicateType string `json:"predicateType"`
		Subject       []struct {
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	if err := json.Unmarshal(e.Payload, &statement); err != nil {
		return errors.New("its signature is of something that is not JSON")
	}
	if statement.PredicateType != "https://sigstore.dev/cosign/sign/v1" {
		return fmt.Errorf("its signature is of a statement %.100q, not of the image itself", statement.PredicateType)
	}
	err := errors.New("its signature is of no image")
	for _, subject := range statement.Subject {
		if err = among(digest.NewDigestFromEncoded(digest.SHA256, subject.Digest["sha256"]), digests); err == nil {
			return nil
		}
	}
	return err
}

func among(signed digest.Digest, digests []digest.Digest) error {
	if signed.Validate() != nil || !slices.Contains(digests, signed) {
		return fmt.Errorf("its signature is of another image, %.100q", string(signed))
	}
	return nil
}
