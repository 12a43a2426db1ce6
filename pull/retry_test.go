package pull_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stepexec/stepexec/pull"
)

// script answers like a registry, whose layers fail as the steps say, one request
// after the other and the last for all others. It needs no network, so that a test
// can run in a bubble with a clock of its own.
type script struct {
	documents map[string][]byte // by tag or digest
	layer     []byte
	steps     []step
	manifest  []step // the same for the tag's manifest
	asked     []time.Time
}

// step is one answer: a status with a header, or that many bytes of the layer and
// then an error, which is a stall if end is nil.
type step struct {
	status     int
	retryAfter string
	bytes      int
	end        error
}

func newScript(t *testing.T, layer []byte) *script {
	t.Helper()
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(layer), Size: int64(len(layer))}
	config := configOf(t, d.Digest)
	return &script{
		layer: layer,
		documents: map[string][]byte{
			"1":                               manifestOf(t, config, []ocispec.Descriptor{d}),
			digest.FromBytes(config).String(): config,
		},
	}
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	document, known := s.documents[name]
	steps := &s.steps
	if name == "1" {
		steps = &s.manifest
	}
	if name == "" || known && (name != "1" || len(*steps) == 0) {
		return answer(r, http.StatusOK, io.NopCloser(strings.NewReader(string(document)))), nil
	}
	s.asked = append(s.asked, time.Now())
	now := (*steps)[0]
	if len(*steps) > 1 {
		*steps = (*steps)[1:]
	}
	if now.status != 0 {
		resp := answer(r, now.status, http.NoBody)
		resp.Header.Set("Retry-After", now.retryAfter)
		return resp, nil
	}
	return s.part(r, now), nil
}

func (s *script) part(r *http.Request, now step) *http.Response {
	from, status := 0, http.StatusOK
	if ranged := r.Header.Get("Range"); ranged != "" {
		from, _ = strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(ranged, "bytes="), "-"))
		status = http.StatusPartialContent
	}
	to := min(len(s.layer), from+now.bytes)
	resp := answer(r, status, &partBody{Reader: strings.NewReader(string(s.layer[from:to])), ctx: r.Context(), end: now.end})
	resp.Header.Set("Content-Range", "bytes "+strconv.Itoa(from)+"-"+strconv.Itoa(len(s.layer)-1)+"/"+strconv.Itoa(len(s.layer)))
	return resp
}

func answer(r *http.Request, status int, body io.ReadCloser) *http.Response {
	return &http.Response{StatusCode: status, Header: make(http.Header), Body: body, ContentLength: -1, Request: r}
}

type partBody struct {
	io.Reader
	ctx context.Context
	end error
}

func (b *partBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if n > 0 || !errors.Is(err, io.EOF) {
		return n, err
	}
	if b.end == nil {
		<-b.ctx.Done()
		return 0, b.ctx.Err()
	}
	return 0, b.end
}

func (b *partBody) Close() error { return nil }

var errBroke = errors.New("connection broke")

// pullScript reads the layer and returns how long it took and between which of its
// requests.
func pullScript(t *testing.T, ctx context.Context, s *script) (gaps []time.Duration, took time.Duration, err error) {
	t.Helper()
	start := time.Now()
	o := pull.Options{Platform: "linux/amd64", Keychain: anonymous, Transport: s}
	img, err := pull.Resolve(ctx, parsed(t, "registry.example/x:1"), o)
	if err == nil {
		_, err = read(ctx, img.Layers[0])
	}
	for i := 1; i < len(s.asked); i++ {
		gaps = append(gaps, s.asked[i].Sub(s.asked[i-1]))
	}
	return gaps, time.Since(start), err
}

func TestWaitsBetweenAttempts(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name  string
		steps []step
		gaps  []time.Duration // the longest; half of that is the shortest, with want nil
		want  string          // of the error
	}{
		{"they double, and six attempts are all", []step{{status: 503}},
			[]time.Duration{500 * ms, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}, "HTTP status 503"},
		{"progress begins anew",
			[]step{{status: 503}, {status: 503}, {bytes: 10, end: errBroke}, {status: 503}, {bytes: 90, end: io.EOF}},
			[]time.Duration{500 * ms, time.Second, 500 * ms, time.Second}, ""},
		{"Retry-After in seconds", []step{{status: 429, retryAfter: "20"}, {bytes: 100, end: io.EOF}},
			[]time.Duration{20 * time.Second}, ""},
		{"Retry-After of a 503, as a date", []step{{status: 503, retryAfter: "Sat, 01 Jan 2000 00:00:40 GMT"}, {bytes: 100, end: io.EOF}},
			[]time.Duration{40 * time.Second}, ""}, // a bubble's clock begins with that year
		{"Retry-After that is over", []step{{status: 429, retryAfter: "Fri, 31 Dec 1999 00:00:00 GMT"}, {bytes: 100, end: io.EOF}},
			[]time.Duration{500 * ms}, ""},
		{"Retry-After that makes no sense", []step{{status: 429, retryAfter: "-1"}, {bytes: 100, end: io.EOF}},
			[]time.Duration{500 * ms}, ""},
		{"Retry-After that is too long", []step{{status: 429, retryAfter: "61"}}, nil, "asks to wait for 1m1s"},
		{"Retry-After in Unix time", []step{{status: 429, retryAfter: "1793000000"}}, nil, "limits how often"},
		{"Retry-After larger than any number", []step{{status: 429, retryAfter: "99999999999999999999"}, {bytes: 100, end: io.EOF}},
			[]time.Duration{500 * ms}, ""},
		{"an answer is no failure", []step{{status: 404}}, nil, "does not have it"},
		{"a stall of 30 s", []step{{bytes: 10}, {bytes: 90, end: io.EOF}}, []time.Duration{30*time.Second + 500*ms}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript(t, []byte(strings.Repeat("x", 100)))
				s.steps = c.steps
				gaps, _, err := pullScript(t, t.Context(), s)
				if c.want != "" {
					wantText(t, err, c.want)
				} else if err != nil {
					t.Error(err)
				}
				if len(gaps) != len(c.gaps) {
					t.Fatalf("waited %s, want %s", gaps, c.gaps)
				}
				for i, gap := range gaps {
					if gap > c.gaps[i] || gap < c.gaps[i]/2 {
						t.Errorf("waited %s, want %s", gaps, c.gaps)
					}
				}
			})
		})
	}
}

func TestDocumentsHaveThreeAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t, []byte("x"))
		s.manifest = []step{{status: 500}}
		gaps, took, err := pullScript(t, t.Context(), s)
		wantText(t, err, "out of order (HTTP status 500")
		if len(gaps) != 2 || took > 1500*time.Millisecond {
			t.Errorf("waited %s", gaps)
		}
	})
}

func TestCancelledWhileItWaits(t *testing.T) {
	for name, steps := range map[string][]step{
		"between attempts":  {{status: 429, retryAfter: "50"}},
		"for bytes":         {{bytes: 10}},
		"for bytes, at 0":   {{bytes: 0}},
		"after an interval": {{bytes: 10, end: errBroke}, {status: 503, retryAfter: "50"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript(t, []byte(strings.Repeat("x", 100)))
				s.steps = steps
				stop := errors.New("stopped")
				ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, stop)
				defer cancel()
				_, took, err := pullScript(t, ctx, s)
				if !errors.Is(err, stop) || took != 10*time.Second {
					t.Errorf("after %s: %v", took, err)
				}
			})
		})
	}
}
