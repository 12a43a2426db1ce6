package pull

import (
	"context"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// Connection is how to reach one repository with go-containerregistry, under the same rules as for
// pulling images: the settings of its registry hold, and plain HTTP to other machines and redirects
// into private networks are refused. Mirrors are not asked.
type Connection struct {
	Repository name.Repository
	Transport  http.RoundTripper
	Keychain   authn.Keychain
	Close      func() // closes idle connections
}

// Connect prepares a connection to a repository such as registry.example.com/ci/cache. It sends
// nothing yet.
func Connect(repository string, o Options) (*Connection, error) {
	e, err := newEndpoint(repository, o)
	if err != nil {
		return nil, err
	}
	return &Connection{e.repository, e.transport, e.credentials, e.close}, nil
}

// OnlyDocuments returns a context for requests over a Connection whose answers are refused if they
// are larger than a manifest may be (8 MiB).
func OnlyDocuments(ctx context.Context) context.Context { return withBodyLimit(ctx, maxDocument) }
