package unpack

import (
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
)

var (
	// ErrNotFound says that the store has no record of the image.
	ErrNotFound = errors.New("image is not in the store")
	// ErrTooLarge says that a layer exceeds one of the Limits.
	ErrTooLarge = errors.New("layer is too large")

	errInodes     = errors.New("no free inodes")
	errNameless   = errors.New("the name is empty")
	errClimbs     = errors.New("the name climbs out of the layer")
	errWhiteout   = errors.New("invalid whiteout name")
	errDevice     = errors.New("device 0:0 is an overlay whiteout: a layer must not bring one")
	errLinkTarget = errors.New("neither this layer nor one below has the target of the hard link")
)

// A DigestError says that a stream does not have the expected digest.
type DigestError struct {
	What      string // "layer" for the compressed stream, "diffID" for the tar in it
	Want, Got digest.Digest
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("wrong %s digest: want %s, got %s: the source is corrupt or was tampered with", e.What, e.Want, e.Got)
}

// A SizeError says that a compressed stream is longer or shorter than announced. Sizes are in
// bytes.
type SizeError struct {
	Want int64
	Got  int64 // bytes read; reading stops soon after Want
}

func (e *SizeError) Error() string {
	if e.Got > e.Want {
		return fmt.Sprintf("stream is longer than the announced %d bytes", e.Want)
	}
	return fmt.Sprintf("stream ends after %d of %d bytes", e.Got, e.Want)
}

// An EntryError says which entry of which layer could not be unpacked, and why.
type EntryError struct {
	Layer digest.Digest // diffID
	Name  string        // name in the tar; printed escaped, at most 300 bytes
	Op    string        // what was being done: "create", "link", "chown", ...
	Err   error
}

func (e *EntryError) Error() string { return fmt.Sprintf("entry %.300q: %s: %v", e.Name, e.Op, e.Err) }

// Unwrap returns the reason.
func (e *EntryError) Unwrap() error { return e.Err }

// An opError is an EntryError that does not know its entry yet.
type opError struct {
	op  string
	err error
}

func (e *opError) Error() string { return e.op + ": " + e.err.Error() }
func (e *opError) Unwrap() error { return e.err }

// failed wraps the error of a system call with the operation. It returns nil, and errors that
// already say more, unchanged.
func failed(op string, err error) error {
	if known := (*opError)(nil); err == nil || errors.As(err, &known) {
		return err
	}
	return &opError{op, err}
}
