package pull_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/stepexec/stepexec/fixtures/registry"
	"github.com/stepexec/stepexec/pull"
)

// impatient are options that keep tests of faults short. On a busy machine, a slow answer can pass
// for a stall: tests that count requests use patientWith.
var impatient = pull.Options{Keychain: anonymous, StallTimeout: time.Second, RetryWait: time.Millisecond}

// patientWith returns options by which nothing but the stalls among these faults counts as one.
func patientWith(faults ...fault) pull.Options {
	o := impatient
	o.StallTimeout = time.Minute
	if slices.ContainsFunc(faults, func(f fault) bool { return f.kind == stall || f.kind == noAnswer }) {
		o.StallTimeout = time.Second
	}
	return o
}

// layerSize is about that of the layers of faultyImage.
const layerSize = 300_000

func faultyImage(t testing.TB, layers int64) v1.Image {
	t.Helper()
	image, err := random.Image(layerSize, layers)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestInterruptedLayerIsResumed(t *testing.T) {
	r := registry.Start(t, registry.Options{})
	r.Push(t, "x:1", faultyImage(t, 1))
	const rest = "bytes=1000-"
	for _, c := range []struct {
		name   string
		faults []fault
		want   []string // ranges of the layer's requests
	}{
		{"cut", []fault{{cut, 1000}}, []string{"", rest}},
		{"reset", []fault{{reset, 1000}}, nil}, // a reset may discard what was not read yet
		{"stall", []fault{{stall, 1000}}, []string{"", rest}},
		{"no answer", []fault{{noAnswer, 0}}, []string{"", ""}},
		{"hang up", []fault{{hangUp, 0}}, nil}, // net/http asks again by itself on a used connection
		{"500", []fault{{status500, 0}}, []string{"", ""}},
		{"503", []fault{{status503, 0}}, []string{"", ""}},
		{"429", []fault{{status429, 0}}, []string{"", ""}},
		{"every status in a row", []fault{{status500, 0}, {status503, 0}, {status429, 0}, {status500, 0}, {status503, 0}}, []string{"", "", "", "", "", ""}},
		{"cut again and again with progress", slices.Repeat([]fault{{cut, 1000}}, 10), nil},
		{"503 when resumed", []fault{{cut, 1000}, {status503, 0}}, []string{"", rest, rest}},
		{"range ignored", []fault{{cut, 1000}, {ignoreRange, 0}}, []string{"", rest}},
		{"range ignored, cut before its place", []fault{{cut, 1000}, {ignoreRange, 0}, {cut, 500}}, []string{"", rest}},
		{"416", []fault{{cut, 1000}, {status416, 0}}, []string{"", rest, ""}},
		{"wrong range", []fault{{cut, 1000}, {wrongRange, 0}}, []string{"", rest, ""}},
		{"short range", []fault{{cut, 1000}, {shortRange, 500}}, []string{"", rest, "bytes=1500-"}},
		{"cut before the first byte", []fault{{cut, 0}}, []string{"", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			proxy := newFaultyProxy(t, r.Host, inOrder(c.faults...))
			img := mustResolve(t, proxy.Host+"/x:1", patientWith(c.faults...))
			content := readLayer(t, img.Layers[0])
			if digestOf(content) != img.Layers[0].Digest.String() {
				t.Errorf("%d of %d bytes, or other ones", len(content), img.Layers[0].Size)
			}
			if got := proxy.blobRequests()[1:]; c.want != nil && !slices.Equal(got, c.want) {
				t.Errorf("asked for %q, want %q", got, c.want)
			}
		})
	}
}

func TestLayerThatCannotBeRead(t *testing.T) {
	r := registry.Start(t, registry.Options{})
	r.Push(t, "x:1", faultyImage(t, 1))
	for _, c := range []struct {
		name     string
		next     func(*http.Request) fault
		want     string
		requests int // for the layer, 0: not compared
	}{
		{"hang up", always(fault{hangUp, 0}), "closed the connection without an answer", 0},
		{"cut without a byte", always(fault{cut, 0}), "unexpected EOF", 6},
		{"stall", always(fault{stall, 0}), "nothing came for 1s", 6},
		{"no answer", always(fault{noAnswer, 0}), "nothing came for 1s", 6},
		{"503", always(fault{status503, 0}), "out of order (HTTP status 503", 6},
		{"429", always(fault{status429, 0}), "limits how often", 6},
		{"403", always(fault{status403, 0}), "unauthorised", 1},
		{"403 when resumed", inOrder(fault{cut, 1000}, fault{status403, 0}), "after 1000 of ", 2},
		{"shorter than the manifest says", always(fault{shorter, 0}), "bytes, the manifest says", 1},
		{"longer than the manifest says", always(fault{longer, 0}), "sends more than the", 1},
		{"range ignored, and cut before its place", inOrder(append([]fault{{cut, 1000}, {status416, 0}}, slices.Repeat([]fault{{cut, 500}}, 10)...)...), "after 1000 of ", 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			proxy := newFaultyProxy(t, r.Host, c.next)
			img := mustResolve(t, proxy.Host+"/x:1", patientWith(fault{kind: stall}))
			content, err := read(t.Context(), img.Layers[0])
			wantText(t, err, c.want, proxy.Host)
			if strings.Contains(fmt.Sprint(err), "hunter2") {
				t.Errorf("the error repeats the answer: %v", err)
			}
			if int64(len(content)) > img.Layers[0].Size {
				t.Errorf("%d bytes were delivered, the layer has %d", len(content), img.Layers[0].Size)
			}
			if got := len(proxy.blobRequests()) - 1; c.requests > 0 && got != c.requests {
				t.Errorf("%d requests, want %d", got, c.requests)
			}
		})
	}
}

func read(ctx context.Context, l pull.Layer) ([]byte, error) {
	stream, err := l.Open(ctx)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(stream)
	return content, errors.Join(err, stream.Close())
}

func TestDocumentsAreAskedForAgain(t *testing.T) {
	r := registry.Start(t, registry.Options{})
	image := faultyImage(t, 0)
	r.Push(t, "x:1", image)
	for _, kind := range []faultKind{cut, reset, stall, noAnswer, status500, status503, status429} {
		for _, path := range []string{"/v2/", "/manifests/", "/blobs/"} {
			t.Run(string(kind)+" "+path, func(t *testing.T) {
				once := true
				proxy := newFaultyProxy(t, r.Host, func(q *http.Request) fault {
					if once && strings.Contains(q.URL.Path, path) {
						once = false
						return fault{kind, 10}
					}
					return fault{kind: none}
				})
				checkImage(t, mustResolve(t, proxy.Host+"/x:1", impatient), image)
			})
		}
	}
	t.Run("without end", func(t *testing.T) {
		proxy := newFaultyProxy(t, r.Host, func(q *http.Request) fault {
			if strings.Contains(q.URL.Path, "/manifests/") {
				return fault{stall, 10}
			}
			return fault{kind: none}
		})
		wantText(t, resolveError(t, proxy.Host+"/x:1", impatient), "came for 1s", proxy.Host)
	})
}

func TestClosedWhileItWaits(t *testing.T) {
	r := registry.Start(t, registry.Options{})
	r.Push(t, "x:1", faultyImage(t, 1))
	for _, kind := range []faultKind{stall, cut} {
		t.Run(string(kind), func(t *testing.T) {
			resumed := make(chan struct{})
			layer := always(fault{kind, 0})
			proxy := newFaultyProxy(t, r.Host, func(q *http.Request) fault {
				f := layer(q)
				if f.kind == kind {
					select {
					case <-resumed:
					default:
						close(resumed)
					}
				}
				return f
			})
			o := pull.Options{Keychain: anonymous, StallTimeout: time.Hour, RetryWait: time.Hour}
			img := mustResolve(t, proxy.Host+"/x:1", o)
			stream, err := img.Layers[0].Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			failed := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, stream)
				failed <- err
			}()
			<-resumed
			if err := stream.Close(); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if err := <-failed; err == nil {
				t.Error("all of the layer was read")
			}
		})
	}
}

// TestRandomFaults pulls through a few hundred random sequences of faults. Every
// layer comes as it is, or with an error, or damaged where the proxy damaged it,
// which is the consumer's to find; and always in time.
func TestRandomFaults(t *testing.T) {
	r := registry.Start(t, registry.Options{})
	r.Push(t, "x:1", faultyImage(t, 2))
	const scenarios = 300
	var (
		mu            sync.Mutex
		right, failed int // pulls without errors, of those that do not depend on time; errors of all
		ranges, parts int
		wait          sync.WaitGroup
		seeds         = make(chan uint64)
		kinds         = make(map[faultKind]int)
		allKinds      = []faultKind{cut, reset, stall, noAnswer, hangUp, status500, status503, status429, status416, ignoreRange, wrongRange, shortRange, shorter, longer, corrupt}
		usual         = []faultKind{cut, cut, cut, reset, hangUp, status500, status503, status429, status416, ignoreRange, wrongRange, shortRange}
	)
	for range 8 {
		wait.Go(func() {
			for seed := range seeds {
				random := rand.New(rand.NewPCG(seed, 0))
				frequency, of := random.Float64(), usual
				if seed%2 == 0 {
					of = allKinds
				}
				proxy := newFaultyProxy(t, r.Host, func(*http.Request) fault {
					if random.Float64() > frequency {
						return fault{kind: none}
					}
					return fault{of[random.IntN(len(of))], random.IntN(layerSize)}
				})
				o := impatient
				if seed%4 < 2 {
					o, proxy.hold = inParts(o), holdSize
				}
				// Without stalls, and without answers that are held back, nothing depends on time.
				if o.StallTimeout = 100 * time.Millisecond; seed%4 == 3 {
					o.StallTimeout = time.Minute
				}
				errs := pullThrough(t, seed, proxy, o)
				mu.Lock()
				if failed += len(errs); len(errs) == 0 && seed%4 == 3 {
					right++
				}
				proxy.count(kinds)
				for _, asked := range proxy.blobRequests() {
					if asked != "" {
						ranges++
					}
					if isPart(asked) {
						parts++
					}
				}
				mu.Unlock()
			}
		})
	}
	for seed := range uint64(scenarios) {
		seeds <- seed
	}
	close(seeds)
	wait.Wait()
	t.Logf("%d of %d pulls right, %d errors, %d ranges, %d of them parts, %v", right, scenarios, failed, ranges, parts, kinds)
	if right < scenarios/20 || failed == 0 || ranges < scenarios/10 || parts < scenarios/30 || len(kinds) != len(allKinds)+1 {
		t.Error("the faults are not what the test is for")
	}
}

// pullThrough pulls the image and returns the errors, after checking what came.
func pullThrough(t *testing.T, seed uint64, proxy *faultyProxy, o pull.Options) (errs []error) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // far more than any takes
	defer cancel()
	img, err := pull.Resolve(ctx, parsed(t, proxy.Host+"/x:1"), o)
	if err != nil {
		checkClear(t, seed, err, "pull "+proxy.Host+"/x:1: ")
		return []error{err}
	}
	for _, l := range img.Layers {
		content, err := read(ctx, l)
		if err != nil {
			checkClear(t, seed, err, proxy.Host)
			errs = append(errs, err)
			continue
		}
		if int64(len(content)) != l.Size {
			t.Errorf("seed %d: %d bytes without an error, the layer has %d", seed, len(content), l.Size)
		}
		if digestOf(content) != l.Digest.String() {
			errs = append(errs, errors.New("digest"))
			injected := make(map[faultKind]int)
			if proxy.count(injected); injected[corrupt] == 0 {
				t.Errorf("seed %d: other bytes than the registry has, without an error", seed)
			}
		}
	}
	if err := img.Close(); err != nil {
		t.Error(err)
	}
	return errs
}

func checkClear(t *testing.T, seed uint64, err error, want string) {
	text := err.Error()
	if !strings.Contains(text, want) || strings.ContainsAny(text, "\n") || strings.Contains(text, "hunter2") ||
		errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("seed %d: %q", seed, text)
	}
}

// TestResumeThroughRedirectsAndTokens resumes at a registry that has new tokens and
// new places for its layers all the time.
func TestResumeThroughRedirectsAndTokens(t *testing.T) {
	layer := []byte(strings.Repeat("layer", 1000))
	asked, leaked := serveMoving(t, layer)
	img := mustResolve(t, asked.ref, pull.Options{
		Platform: "linux/amd64", RetryWait: time.Millisecond,
		Keychain: only{basic("u", "hunter2")},
	})
	if diff := cmp.Diff(layer, readLayer(t, img.Layers[0])); diff != "" {
		t.Error(diff)
	}
	want := []string{"/store/1 ", "/store/2 bytes=1000-", "/store/3 bytes=2000-", "/store/4 bytes=3000-", "/store/5 bytes=4000-"}
	if diff := cmp.Diff(want, asked.stored()); diff != "" {
		t.Error(diff)
	}
	if len(*leaked) > 0 {
		t.Errorf("the store got credentials: %q", *leaked)
	}
}
