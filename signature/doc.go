// Package signature decides whether an image is signed as a site's rules ask for. It knows the
// signatures of cosign (github.com/sigstore/cosign) that are made with a key: simple signing
// payloads, and bundles with a DSSE envelope. It asks no one: whoever has found what is attached
// to an image hands it over as [Evidence], and evidence that was kept is as good as new.
package signature
