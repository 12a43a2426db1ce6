package pull

import "errors"

// Errors that callers distinguish with [errors.Is]. The text of an error that wraps one of them
// says what was not found, refused or missing.
var (
	// ErrNotFound says that the reference names a repository, tag, manifest, blob, file or folder
	// that does not exist.
	ErrNotFound = errors.New("not found")
	// ErrUnauthorized says that the registry rejected the credentials, or wants some and got none.
	ErrUnauthorized = errors.New("unauthorised")
	// ErrPlatform says that there is no image for the wanted platform.
	ErrPlatform = errors.New("no image for the platform")
)

// failure has its own text and the error that callers may test for. It deliberately omits the text
// of the cause: a registry's answer can repeat the credentials of the request.
type failure struct {
	text  string
	cause error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.cause }
