package unary

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	contentType = "application/grpc"
	prefixSize  = 5 // of a message: a byte that says whether it is compressed, and its length
)

// Call makes a call and fills in the answer. A call that waits ends with ErrGoAway as soon as the
// server wants to close the connection; others are answered first. All errors are statuses of gRPC.
// Those for answers that are not gRPC have the messages of google.golang.org/grpc.
func (c *Conn) Call(ctx context.Context, waits bool, method string, metadata http.Header, request, answer proto.Message) error {
	link, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer link.done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if waits {
		defer context.AfterFunc(link.retired, func() { cancel(ErrGoAway) })()
	}
	message, err := c.exchange(ctx, link, method, metadata, request)
	switch {
	case err == nil:
		return unmarshal(message, answer)
	case errors.Is(context.Cause(ctx), ErrGoAway):
		return ErrGoAway
	case ctx.Err() != nil:
		return status.FromContextError(ctx.Err()).Err()
	}
	if deadline, ok := ctx.Deadline(); ok && time.Now().After(deadline) { // the server ends a call at its deadline, too
		return status.FromContextError(context.DeadlineExceeded).Err()
	}
	return err
}

// exchange sends a request and returns the answer with its prefix, as it is on the wire.
func (c *Conn) exchange(ctx context.Context, l *link, method string, metadata http.Header, request proto.Message) ([]byte, error) {
	body := make([]byte, prefixSize, prefixSize+proto.Size(request))
	body, err := proto.MarshalOptions{}.MarshalAppend(body, request)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	binary.BigEndian.PutUint32(body[1:], uint32(len(body)-prefixSize))
	post := &http.Request{
		Method: http.MethodPost, URL: &url.URL{Scheme: c.scheme, Host: c.o.Authority, Path: method}, Header: headers(ctx, metadata),
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
	response, err := l.conn.RoundTrip(post.WithContext(ctx))
	if err != nil {
		return nil, l.failure(err)
	}
	defer response.Body.Close()
	l.answered.Store(true)
	if kind := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK || !isGRPC(kind) {
		return nil, notGRPC(response.StatusCode, kind)
	}
	message, err := io.ReadAll(io.LimitReader(response.Body, int64(c.o.Limit)+prefixSize+1))
	switch {
	case err != nil:
		return nil, l.failure(err)
	case len(message) > c.o.Limit+prefixSize:
		return nil, status.Error(codes.ResourceExhausted, fmt.Sprintf("received message larger than max (%d)", c.o.Limit))
	}
	return message, outcome(response)
}

func headers(ctx context.Context, metadata http.Header) http.Header {
	h := http.Header{"Content-Type": {contentType}, "Te": {"trailers"}, "User-Agent": {"stepexec"}}
	maps.Copy(h, metadata)
	if deadline, ok := ctx.Deadline(); ok {
		left := min(max(time.Until(deadline).Milliseconds()+1, 1), 99_999_999) // rounded up; eight digits at most
		h.Set("Grpc-Timeout", strconv.FormatInt(left, 10)+"m")
	}
	return h
}

func isGRPC(kind string) bool {
	rest, ok := strings.CutPrefix(strings.ToLower(kind), contentType)
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// notGRPC is the error for an answer of something that stands before the server.
func notGRPC(code int, kind string) error {
	text := fmt.Sprintf("unexpected HTTP status code received from server: %d (%s)", code, http.StatusText(code))
	switch {
	case code == http.StatusOK && kind == "":
		text = "missing HTTP content-type"
	case code == http.StatusOK:
		text = fmt.Sprintf("received unexpected content-type %q", kind)
	}
	return status.Error(codes.Unavailable, text)
}

// outcome returns the status of an answer that was read to its end: in its trailer, or in its header
// if there is nothing else.
func outcome(response *http.Response) error {
	from := response.Trailer
	if from.Get("Grpc-Status") == "" {
		from = response.Header
	}
	text := from.Get("Grpc-Status")
	if text == "" {
		return status.Error(codes.Internal, "the server closed the stream without a status")
	}
	code, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return status.Error(codes.Unknown, fmt.Sprintf("malformed grpc-status: %q", text))
	}
	said := from.Get("Grpc-Message")
	if plain, err := url.PathUnescape(said); err == nil { // otherwise as it is
		said = plain
	}
	return status.Error(codes.Code(code), said) // nil if it is OK
}

// unmarshal reads the answer from what a server has sent with the status OK.
func unmarshal(message []byte, answer proto.Message) error {
	switch {
	case len(message) < prefixSize:
		return status.Error(codes.Internal, "the answer holds no message")
	case message[0] != 0:
		return status.Error(codes.Internal, "the answer is compressed, which was not asked for")
	case uint64(binary.BigEndian.Uint32(message[1:])) != uint64(len(message)-prefixSize):
		return status.Error(codes.Internal, "the answer is not one whole message")
	}
	if err := proto.Unmarshal(message[prefixSize:], answer); err != nil {
		return status.Error(codes.Internal, fmt.Sprintf("read the answer: %v", err))
	}
	return nil
}

// streamError is how package net/http gives out a stream that the server has reset: errors.As fills
// in any struct with these fields.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (streamError) Error() string { return "stream error" }

// failure is the status for an error of the connection, or of a stream that the server has reset.
// Codes of the latter are those of RFC 9113, section 7.
func (l *link) failure(err error) error {
	code := codes.Unavailable
	var reset streamError
	if errors.As(err, &reset) {
		switch reset.Code {
		case 0x7: // REFUSED_STREAM: the server has not looked at it
		case 0x8:
			code = codes.Canceled
		case 0xb: // ENHANCE_YOUR_CALM
			code = codes.ResourceExhausted
		case 0xc: // INADEQUATE_SECURITY
			code = codes.PermissionDenied
		default:
			code = codes.Internal
		}
	}
	// What package net/http says of calls that the server has not begun when it goes away.
	if text := err.Error(); strings.Contains(text, "graceful shutdown GOAWAY") || strings.Contains(text, "client conn not usable") {
		return ErrGoAway
	}
	if l.answered.Load() {
		return status.Error(code, err.Error())
	}
	return status.Error(code, fmt.Sprintf("%s: %v", neverAnswered, err))
}

// neverAnswered begins the message about a connection that ended before the server's first answer.
const neverAnswered = "the server has not answered by HTTP/2"
