package cache

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/stepexec/stepexec/beneath"
)

// Bytes of the key of a store that machines share.
const (
	minSharedKey = 32
	maxSharedKey = 64 << 10
)

// ReadSharedKey reads a key that only machines have which may save caches for each other: at least
// 32 bytes that nobody can guess.
func ReadSharedKey(file string) ([]byte, error) {
	key, err := beneath.At(file).ReadFile(maxSharedKey)
	if err == nil && len(key) < minSharedKey {
		err = fmt.Errorf("%s: %d bytes are too few for a key (make one: head -c 32 /dev/urandom > %s)", file, len(key), file)
	}
	return key, err
}

// SealWith has the store seal what it saves with a key, and use nothing that is not sealed with it.
// Otherwise, whoever can write to the store can put content there for any scope and key. With a
// seal, they can only remove entries, or bring back older ones of the same scope and key.
func (r *Remote) SealWith(key []byte) { r.key = key }

// errUnsealed is the reason why an entry is not used, and is replaced.
var errUnsealed = errors.New("it is not sealed with the key of this machine (cache_key in the settings), and is not used")

// isSealed reports whether an entry may be used.
func (r *Remote) isSealed(e *Entry) bool {
	return r.key == nil || hmac.Equal(e.Seal, seal(r.key, e))
}

// seal is an HMAC of all that decides where an entry is used and what it restores.
func seal(key []byte, e *Entry) []byte {
	h := hmac.New(sha256.New, key)
	said := []string{"stepexec cache 1", e.Scope, e.Name, e.Digest, e.Created.UTC().Format(time.RFC3339Nano)}
	for _, text := range append(said, e.Key...) {
		fmt.Fprintf(h, "%q\n", text)
	}
	return h.Sum(nil)
}
