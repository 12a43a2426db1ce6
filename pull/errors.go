package pull

import "errors"

// Errors that callers decide on, with [errors.Is]. The text of an error that
// wraps one of them says what was not found, refused or missing.
var (
	// ErrNotFound is wrapped when the reference names a repository, tag, manifest,
	// blob, file or folder that does not exist.
	ErrNotFound = errors.New("not found")
	// ErrUnauthorized is wrapped when the registry wants other credentials than it got.
	ErrUnauthorized = errors.New("unauthorised")
	// ErrPlatform is wrapped when there is no image for the wanted platform.
	ErrPlatform = errors.New("no image for the platform")
)

// failure is an error with a text of our own and the error that callers may test
// for. The text of the cause is left out on purpose: that of a registry's answer
// can repeat the credentials that the request carried.
type failure struct {
	text  string
	cause error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.cause }
