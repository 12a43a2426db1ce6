// Package provenance says how the files of a run were made, in a form that others verify: a
// statement of the in-toto attestation framework with SLSA's provenance, version 1, signed in a
// DSSE envelope by a key of the builder's. It writes statements, reads them strictly and verifies
// them. It knows no run: who asks for a statement says what is in it.
package provenance
