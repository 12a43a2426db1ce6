// Package s3 keeps the caches of several machines in a bucket of Amazon S3, or of a service that
// speaks its protocol: entries/ADDRESS holds the description of an entry, data/DIGEST a packed folder.
//
// The address, the region and the credentials of the service are those of the usual variables of
// AWS in the environment of stepexec: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_REGION,
// AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.
package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/stepexec/stepexec/cache"
	"github.com/stepexec/stepexec/pull"
)

const maxDocument = 8 << 20 // bytes of an answer that is not packed data

// bucket is a cache.Depot.
type bucket struct {
	place
	credentials aws.Credentials // without a key, requests are not signed
	transport   *http.Transport
	client      *http.Client
	partSize    int64 // bytes
	maxParts    int64 // of an upload
}

// Open returns the depot at s3://BUCKET/PREFIX. It sends nothing yet.
func Open(address string) (cache.Depot, error) {
	p, err := placeOf(address)
	if err != nil {
		return nil, err
	}
	transport := pull.NewTransport()
	return &bucket{
		place:       p,
		credentials: aws.Credentials{AccessKeyID: os.Getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY"), SessionToken: os.Getenv("AWS_SESSION_TOKEN")},
		transport:   transport,
		partSize:    usualPart,
		maxParts:    usualParts,
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a signature is for one host
		}},
	}, nil
}

func (b *bucket) Close() { b.transport.CloseIdleConnections() }

// body is what a request stores.
type body struct {
	reader io.Reader
	size   int64
	sha256 string // in hexadecimal
}

func document(text []byte) body {
	sum := sha256.Sum256(text)
	return body{bytes.NewReader(text), int64(len(text)), hex.EncodeToString(sum[:])}
}

// do sends a signed request, and returns an answer of the class 2xx, whose body the caller closes.
func (b *bucket) do(ctx context.Context, method, object string, query url.Values, send body) (*http.Response, error) {
	u := b.endpoint
	u.Path, u.RawQuery = b.path+object, query.Encode()
	r, err := http.NewRequestWithContext(ctx, method, u.String(), send.reader)
	if err != nil {
		return nil, err
	}
	r.ContentLength = send.size
	if send.reader == nil {
		send.sha256 = document(nil).sha256
	}
	r.Header.Set("X-Amz-Content-Sha256", send.sha256)
	r.Header.Set("User-Agent", "stepexec")
	if b.credentials.AccessKeyID != "" {
		signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
		if err := signer.SignHTTP(ctx, b.credentials, r, send.sha256, "s3", b.region, time.Now()); err != nil {
			return nil, err
		}
	}
	answer, err := b.client.Do(r)
	if u := new(url.Error); errors.As(err, &u) {
		err = u.Err
	}
	if err != nil {
		return nil, err
	}
	if answer.StatusCode/100 == 2 {
		return answer, nil
	}
	defer answer.Body.Close()
	return nil, refused(answer)
}

// refused is the error of an answer; fs.ErrNotExist if there is no such object.
func refused(answer *http.Response) error {
	var said struct{ Code string }
	_ = xml.NewDecoder(io.LimitReader(answer.Body, maxDocument)).Decode(&said) // it need not be XML
	if answer.StatusCode == http.StatusNotFound && said.Code != "NoSuchBucket" {
		return fs.ErrNotExist
	}
	text := fmt.Sprintf("the service answered %d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
	if said.Code != "" {
		text += fmt.Sprintf(" (%.60q)", said.Code)
	}
	switch {
	case answer.StatusCode/100 == 3:
		text += " (is AWS_REGION that of the bucket?)"
	case answer.StatusCode == http.StatusForbidden && answer.Request.Header.Get("Authorization") == "":
		text += " (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set)"
	}
	return errors.New(text)
}

// ask sends a request, and reads its answer.
func (b *bucket) ask(ctx context.Context, method, object string, query url.Values, send body) ([]byte, error) {
	answer, err := b.do(ctx, method, object, query, send)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxDocument+1))
	if err == nil && len(text) > maxDocument {
		err = fmt.Errorf("the answer is larger than %d bytes", maxDocument)
	}
	return text, err
}

func entry(prefix, address string) string { return prefix + "entries/" + address }
func data(prefix, digest string) string   { return prefix + "data/" + digest }

// Entry implements cache.Depot.
func (b *bucket) Entry(ctx context.Context, address string) ([]byte, error) {
	return b.ask(ctx, http.MethodGet, entry(b.prefix, address), nil, body{})
}

// Data implements cache.Depot.
func (b *bucket) Data(ctx context.Context, digest string) (io.ReadCloser, error) {
	answer, err := b.do(ctx, http.MethodGet, data(b.prefix, digest), nil, body{})
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

// Put implements cache.Depot.
func (b *bucket) Put(ctx context.Context, u cache.Upload) error {
	object := data(b.prefix, u.Digest)
	_, err := b.ask(ctx, http.MethodHead, object, nil, body{})
	switch {
	case err == nil: // it is there
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case u.Size > b.partSize:
		err = b.putParts(ctx, object, u)
	default:
		packed := body{u.Watch(io.NewSectionReader(u.Data, 0, u.Size)), u.Size, u.Digest}
		_, err = b.ask(ctx, http.MethodPut, object, nil, packed)
	}
	if err != nil {
		return err
	}
	for _, address := range u.Addresses {
		if _, err := b.ask(ctx, http.MethodPut, entry(b.prefix, address), nil, document(u.Description)); err != nil {
			return err
		}
	}
	return nil
}

// Addresses implements cache.Depot (Amazon S3 API Reference, ListObjectsV2).
func (b *bucket) Addresses(ctx context.Context) ([]string, error) {
	var all []string
	query := url.Values{"list-type": {"2"}, "prefix": {entry(b.prefix, "")}}
	for {
		text, err := b.ask(ctx, http.MethodGet, "", query, body{})
		if err != nil {
			return nil, err
		}
		var page struct {
			Contents              []struct{ Key string }
			NextContinuationToken string
		}
		if err := xml.Unmarshal(text, &page); err != nil {
			return nil, errors.New("the list of objects is not valid XML")
		}
		for _, object := range page.Contents {
			if address, ours := strings.CutPrefix(object.Key, entry(b.prefix, "")); ours && cache.IsWholeKey(address) {
				all = append(all, address)
			}
		}
		if page.NextContinuationToken == "" || page.NextContinuationToken == query.Get("continuation-token") {
			return all, nil
		}
		query.Set("continuation-token", page.NextContinuationToken)
	}
}

// Remove implements cache.Depot.
func (b *bucket) Remove(ctx context.Context, addresses []string, digest string) error {
	objects := make([]string, 0, len(addresses)+1)
	for _, address := range addresses {
		objects = append(objects, entry(b.prefix, address))
	}
	if digest != "" {
		objects = append(objects, data(b.prefix, digest))
	}
	for _, object := range objects {
		if _, err := b.ask(ctx, http.MethodDelete, object, nil, body{}); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
