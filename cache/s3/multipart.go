package s3

import (
	"cmp"
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
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stepexec/stepexec/cache"
)

// Amazon S3 User Guide, "Multipart upload limits": an upload has 10,000 parts at most, of 5 MiB to
// 5 GiB each; the last one may be smaller.
const (
	usualPart      = 64 << 20 // bytes; data that are not larger are stored by one request
	usualParts     = 10000
	partsAtOnce    = 4
	uploadPatience = 10 * time.Second // after an interrupt, for answers that matter
)

// part is one of the parts of an upload, as the request that completes it has it.
type part struct {
	PartNumber int
	ETag       string
}

// putParts stores data in parts, several at once. An upload that fails or is interrupted is aborted:
// otherwise the service would keep its parts, which no list of objects shows.
func (b *bucket) putParts(ctx context.Context, object string, u cache.Upload) (err error) {
	id, err := b.beginUpload(ctx, object)
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			return
		}
		if kept := b.abortUpload(ctx, object, id); kept != nil {
			err = fmt.Errorf("%w; %w", err, kept)
		}
	}()
	size := max(b.partSize, (u.Size+b.maxParts-1)/b.maxParts)
	parts := make([]part, (u.Size+size-1)/size)
	sending, sendCtx := errgroup.WithContext(ctx)
	sending.SetLimit(partsAtOnce)
	for i := range parts {
		begin := int64(i) * size
		content := io.NewSectionReader(u.Data, begin, min(size, u.Size-begin))
		sending.Go(func() (err error) {
			parts[i], err = b.putPart(sendCtx, object, id, i+1, content, u.Watch)
			return err
		})
	}
	if err := cmp.Or(sending.Wait(), context.Cause(ctx)); err != nil { // parts outlive an interrupt
		return err
	}
	u.Sent()
	return b.completeUpload(ctx, object, id, parts)
}

// beginUpload returns the ID of an upload. An interrupt does not end the request: the upload could
// then exist without anybody who knows its ID and can abort it.
func (b *bucket) beginUpload(ctx context.Context, object string) (id string, err error) {
	ctx, cancel := outliving(ctx, nil)
	defer cancel()
	text, err := b.ask(ctx, http.MethodPost, object, url.Values{"uploads": {""}}, body{})
	if err != nil {
		return "", err
	}
	var said struct {
		UploadID string `xml:"UploadId"`
	}
	if err := xml.Unmarshal(text, &said); err != nil || said.UploadID == "" {
		return "", errors.New("the service began an upload in parts without an ID")
	}
	return said.UploadID, nil
}

func (b *bucket) putPart(ctx context.Context, object, id string, number int, content *io.SectionReader, watch func(io.Reader) io.Reader) (part, error) {
	if err := ctx.Err(); err != nil {
		return part{}, err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, content); err != nil {
		return part{}, err
	}
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return part{}, err
	}
	sent := &partBody{reader: watch(content), left: content.Size()}
	ctx, cancel := outliving(ctx, sent.cutOff)
	defer cancel()
	query := url.Values{"partNumber": {strconv.Itoa(number)}, "uploadId": {id}}
	answer, err := b.do(ctx, http.MethodPut, object, query, body{sent, content.Size(), hex.EncodeToString(sum.Sum(nil))})
	if err != nil {
		return part{}, err
	}
	return part{number, answer.Header.Get("ETag")}, answer.Body.Close()
}

// completeUpload makes one object of parts. That can take minutes. The service can begin its answer
// before it knows whether it succeeds, so the status does not say (Amazon S3 API Reference,
// CompleteMultipartUpload). An upload that is aborted meanwhile may keep its parts.
func (b *bucket) completeUpload(ctx context.Context, object, id string, parts []part) error {
	list, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"CompleteMultipartUpload"`
		Part    []part
	}{Part: parts})
	if err != nil {
		return err
	}
	ctx, cancel := outliving(ctx, nil)
	defer cancel()
	patient := *b
	patient.transport = b.transport.Clone()
	patient.transport.ResponseHeaderTimeout = 0 // ctx bounds it
	patient.client = &http.Client{Transport: patient.transport, CheckRedirect: b.client.CheckRedirect}
	defer patient.Close()
	text, err := patient.ask(ctx, http.MethodPost, object, url.Values{"uploadId": {id}}, document(list))
	if err != nil {
		return err
	}
	var said struct {
		XMLName xml.Name
		Code    string
	}
	if err := xml.Unmarshal(text, &said); err != nil || said.XMLName.Local != "CompleteMultipartUploadResult" {
		return fmt.Errorf("the service did not join the parts of the upload (%.60q)", said.Code)
	}
	return nil
}

// abortUpload has the service remove the parts of an upload, also after an interrupt.
func (b *bucket) abortUpload(ctx context.Context, object, id string) error {
	ctx, cancel := outliving(ctx, nil)
	defer cancel()
	_, err := b.ask(ctx, http.MethodDelete, object, url.Values{"uploadId": {id}}, body{})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("abort the upload (the service may keep its parts): %w", err)
	}
	return nil
}

// partBody is the content of a part while it is sent. An interrupt ends the request only if the service
// cannot have all of it. A service that has would store the part whether or not anybody waits for its
// answer, perhaps after the upload was aborted, and then keep it.
type partBody struct {
	mu     sync.Mutex
	reader io.Reader
	left   int64 // bytes that were not read yet
	cut    error // why no more is read
}

// Read implements io.Reader.
func (b *partBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.cut != nil:
		return 0, b.cut
	case b.left == 0:
		return 0, io.EOF
	}
	n, err := b.reader.Read(p)
	if b.left -= int64(n); b.left == 0 {
		err = nil // an interrupt comes too late
	}
	return n, err
}

// cutOff has nothing more be read, and reports whether anything was left.
func (b *partBody) cutOff(why error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left > 0 {
		b.cut = why
	}
	return b.left > 0
}

// outliving returns a context that ends a while after ctx, so that a service answers whether it has
// done what it was asked for. If cutOff says that it cannot have been asked yet, the context ends with
// ctx; nil: it can.
func outliving(ctx context.Context, cutOff func(why error) bool) (context.Context, context.CancelFunc) {
	asking, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if cutOff == nil || !cutOff(context.Cause(ctx)) {
			select {
			case <-time.After(uploadPatience):
			case <-asking.Done():
			}
		}
		cancel(context.Cause(ctx))
	})
	return asking, func() {
		stop()
		cancel(nil)
	}
}
