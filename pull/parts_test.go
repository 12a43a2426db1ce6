package pull_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/fixtures/registry"
	"github.com/stepexec/stepexec/pull"
)

const (
	partSize = 20_000
	holdSize = 3 * partSize // after the speed was judged, before the first part begins
)

// inParts returns options by which layers of a few parts are large and no connection
// is fast enough.
func inParts(o pull.Options) pull.Options {
	o.Ranges = pull.Ranges{Above: 5 * partSize, Part: partSize, Enough: math.MaxInt64}
	return o
}

// isPart tells the range of a part from that of what is left.
func isPart(asked string) bool { return asked != "" && !strings.HasSuffix(asked, "-") }

// ofParts chooses the faults for the parts' requests one after the other, and none for
// others.
func ofParts(faults ...fault) func(*http.Request) fault {
	return func(r *http.Request) fault {
		if !isPart(r.Header.Get("Range")) || len(faults) == 0 {
			return fault{kind: none}
		}
		next := faults[0]
		faults = faults[1:]
		return next
	}
}

// partsAsked returns how many parts were asked for, and the other ranges.
func partsAsked(p *faultyProxy) (parts int, others []string) {
	for _, asked := range p.blobRequests()[1:] {
		if isPart(asked) {
			parts++
		} else {
			others = append(others, asked)
		}
	}
	return parts, others
}

func TestLargeLayerComesInParts(t *testing.T) {
	r := registry.Start(t, registry.Options{})
	r.Push(t, "x:1", faultyImage(t, 1))
	const all = 11 // of 300,000 bytes, without the first four and a bit
	for _, c := range []struct {
		name   string
		faults []fault
		parts  int  // requests for parts; 0: not compared
		alone  bool // one connection goes on to the end
	}{
		{"as it should", nil, all, false},
		{"a part is cut", []fault{{none, 0}, {cut, 1000}}, all + 1, false},
		{"a part is reset", []fault{{none, 0}, {reset, 1000}}, all + 1, false},
		{"a part stalls", []fault{{none, 0}, {none, 0}, {stall, 1000}}, all + 1, false},
		{"a part is short", []fault{{none, 0}, {shortRange, 1000}}, all + 1, false},
		{"503", []fault{{none, 0}, {status503, 0}}, all + 1, false},
		{"429", []fault{{none, 0}, {status429, 0}}, all + 1, false},
		{"no ranges: all of it", []fault{{ignoreRange, 0}}, 1, true},
		{"no ranges: 416", []fault{{status416, 0}}, 1, true},
		{"no ranges: 403", []fault{{status403, 0}}, 1, true},
		{"wrong range", []fault{{wrongRange, 0}}, 1, true},
		{"more than the range", []fault{{longer, 0}}, 0, true},
		{"later all of it", []fault{{none, 0}, {none, 0}, {ignoreRange, 0}}, 0, true},
		{"later a wrong range", []fault{{none, 0}, {none, 0}, {wrongRange, 0}}, 0, true},
		{"later more than the range", []fault{{none, 0}, {none, 0}, {longer, 0}}, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			proxy := newFaultyProxy(t, r.Host, ofParts(c.faults...))
			proxy.hold = holdSize
			if c.parts == 1 { // no others are to be waited for
				proxy.more.give()
			}
			o := inParts(patientWith(c.faults...))
			if c.parts == 0 { // the held connection may end by a stall alone, and requests are not counted
				o.StallTimeout = time.Second
			}
			img := mustResolve(t, proxy.Host+"/x:1", o)
			content := readLayer(t, img.Layers[0])
			if digestOf(content) != img.Layers[0].Digest.String() {
				t.Errorf("%d of %d bytes, or other ones", len(content), img.Layers[0].Size)
			}
			parts, others := partsAsked(proxy)
			if parts < c.parts || c.parts == 1 && parts > 1 {
				t.Errorf("%d requests for parts, want %d: %q", parts, c.parts, proxy.blobRequests())
			}
			if !c.alone && !slices.Equal(others, []string{""}) {
				t.Errorf("asked for %q beside the parts", others)
			}
		})
	}
}

func TestOneConnectionThatIsFastEnough(t *testing.T) {
	r := registry.Start(t, registry.Options{})
	r.Push(t, "x:1", faultyImage(t, 1))
	for name, ranges := range map[string]pull.Ranges{
		"small layer":     {},
		"fast connection": {Above: partSize, Part: partSize, Enough: 1},
		"switched off":    {Above: -1, Part: partSize, Enough: math.MaxInt64},
	} {
		t.Run(name, func(t *testing.T) {
			proxy := newFaultyProxy(t, r.Host, ofParts())
			o := patientWith()
			o.Ranges = ranges
			img := mustResolve(t, proxy.Host+"/x:1", o)
			readLayer(t, img.Layers[0])
			if got := proxy.blobRequests()[1:]; !slices.Equal(got, []string{""}) {
				t.Errorf("asked for %q", got)
			}
		})
	}
}

// TestPartsThatCannotBeRead has a source that breaks for good once parts have taken over.
func TestPartsThatCannotBeRead(t *testing.T) {
	r := registry.Start(t, registry.Options{})
	r.Push(t, "x:1", faultyImage(t, 1))
	for _, c := range []struct {
		then faultKind
		want string
	}{
		{status503, "out of order (HTTP status 503"},
		{status403, "unauthorised"},
		{stall, "nothing came for 1s"},
	} {
		t.Run(string(c.then), func(t *testing.T) {
			ranges := 0
			proxy := newFaultyProxy(t, r.Host, func(q *http.Request) fault {
				if q.Header.Get("Range") != "" {
					if ranges++; ranges > parallelParts {
						return fault{c.then, 0}
					}
				}
				return fault{kind: none}
			})
			proxy.hold = holdSize
			img := mustResolve(t, proxy.Host+"/x:1", inParts(patientWith(fault{kind: stall})))
			content, err := read(t.Context(), img.Layers[0])
			wantText(t, err, "after ", " of ", c.want, proxy.Host)
			if int64(len(content)) >= img.Layers[0].Size {
				t.Errorf("%d bytes were delivered", len(content))
			}
		})
	}
}

const parallelParts = 4

func TestMirrorThatBreaksWhileALayerComesInParts(t *testing.T) {
	origin := registry.Start(t, registry.Options{})
	image := faultyImage(t, 1)
	ref := origin.Push(t, "x:1", image)
	for _, then := range []faultKind{status403, status503, hangUp} {
		t.Run(string(then), func(t *testing.T) {
			ranges := 0
			mirror := newFaultyProxy(t, origin.Host, func(q *http.Request) fault {
				if q.Header.Get("Range") != "" {
					if ranges++; ranges > parallelParts {
						return fault{then, 0}
					}
				}
				return fault{kind: none}
			})
			mirror.hold = holdSize
			o := inParts(patientWith())
			o.Registries = mirrored(origin.Host, mirror.Host)
			img := mustResolve(t, ref, o)
			content := readLayer(t, img.Layers[0])
			if digestOf(content) != img.Layers[0].Digest.String() {
				t.Errorf("%d of %d bytes, or other ones", len(content), img.Layers[0].Size)
			}
			if warnings := img.Warnings(); len(warnings) != 1 ||
				!strings.HasPrefix(warnings[0], "mirror "+mirror.Host+" of "+origin.Host+": ") || !strings.HasSuffix(warnings[0], "; used "+origin.Host) {
				t.Errorf("warnings %q", warnings)
			}
		})
	}
}

// TestDamagedPartComesFromTheRegistryTheSecondTime: no part shows that it is damaged.
func TestDamagedPartComesFromTheRegistryTheSecondTime(t *testing.T) {
	origin := registry.Start(t, registry.Options{})
	ref := origin.Push(t, "x:1", faultyImage(t, 1))
	mirror := newFaultyProxy(t, origin.Host, ofParts(fault{none, 0}, fault{corrupt, 10}))
	mirror.hold = holdSize
	o := inParts(patientWith())
	o.Registries = mirrored(origin.Host, mirror.Host)
	img := mustResolve(t, ref, o)
	if content := readLayer(t, img.Layers[0]); digestOf(content) == img.Layers[0].Digest.String() {
		t.Error("the proxy damaged nothing")
	}
	if content := readLayer(t, img.Layers[0]); digestOf(content) != img.Layers[0].Digest.String() {
		t.Error("damaged the second time too")
	}
}

func TestEndedWhileItComesInParts(t *testing.T) {
	r := registry.Start(t, registry.Options{})
	r.Push(t, "x:1", faultyImage(t, 1))
	for _, by := range []string{"close", "cancel"} {
		t.Run(by, func(t *testing.T) {
			stalled := make(chan struct{})
			ranges := 0
			proxy := newFaultyProxy(t, r.Host, func(q *http.Request) fault {
				if q.Header.Get("Range") == "" {
					return fault{kind: none}
				}
				if ranges++; ranges != parallelParts+1 {
					return fault{kind: none}
				}
				close(stalled)
				return fault{stall, 10}
			})
			proxy.hold = holdSize
			o := inParts(impatient)
			o.StallTimeout = 0
			img := mustResolve(t, proxy.Host+"/x:1", o)
			stop := errors.New("stopped")
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			stream, err := img.Layers[0].Open(ctx)
			if err != nil {
				t.Fatal(err)
			}
			failed := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, stream)
				failed <- err
			}()
			<-stalled
			if by == "cancel" {
				cancel(stop)
				if err := <-failed; !errors.Is(err, stop) {
					t.Errorf("the error is %v", err)
				}
				failed <- stop
			}
			if err := stream.Close(); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if err := <-failed; err == nil {
				t.Error("all of the layer was read")
			}
			if n, err := stream.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("read after Close: %d, %v", n, err)
			}
		})
	}
}
