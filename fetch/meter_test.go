package fetch

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/unpack"
)

func TestMeterSumsUpTheLayersAndKeepsItsPause(t *testing.T) {
	synctest.Test(t, testMeter)
}

func testMeter(t *testing.T) {
	a, b, old := digest.FromString("a"), digest.FromString("b"), digest.FromString("old")
	var got []event.Progress
	m := newMeter(func(p event.Progress) { got = append(got, p) })
	var others int
	add := m.tee(func(string, unpack.Progress) { others++ })
	for _, step := range []struct {
		after time.Duration
		p     unpack.Progress
	}{
		{0, unpack.Progress{Layer: a, Total: 1000, State: unpack.Waiting}},
		{0, unpack.Progress{Layer: b, Total: 500, State: unpack.Waiting}},
		{0, unpack.Progress{Layer: old, Total: 7000, State: unpack.Present}},
		{500 * time.Millisecond, unpack.Progress{Layer: a, Bytes: 400, Total: 1000, State: unpack.Unpacking}},
		{50 * time.Millisecond, unpack.Progress{Layer: a, Bytes: 500, Total: 1000, State: unpack.Unpacking}}, // within the pause
		{450 * time.Millisecond, unpack.Progress{Layer: b, Bytes: 200, Total: 500, State: unpack.Unpacking}},
		{9 * time.Second, unpack.Progress{Layer: a, Bytes: 1000, Total: 1000, State: unpack.Done}},
		{time.Millisecond, unpack.Progress{Layer: b, Bytes: 500, Total: 500, State: unpack.Done}}, // soon, but the last
	} {
		time.Sleep(step.after)
		synctest.Wait()
		add("image", step.p)
	}
	want := []event.Progress{
		{Total: 1000, Layers: 1},
		{Total: 1500, Layers: 2}, // b, when the pause was over
		{Bytes: 400, Total: 1500, Rate: 800, Layers: 2},
		{Bytes: 500, Total: 1500, Rate: 833, Layers: 2}, // the same
		{Bytes: 700, Total: 1500, Rate: 700, Layers: 2},
		{Bytes: 1200, Total: 1500, Rate: 55, Layers: 2, LayersDone: 1}, // 500 bytes in 9 s
		{Bytes: 1500, Total: 1500, Rate: 88, Layers: 2, LayersDone: 2}, // 800 bytes in 9.001 s
	}
	m.add(unpack.Progress{Layer: old, Total: 7000, State: unpack.Waiting})
	if err := m.end(); err != nil {
		t.Error(err)
	}
	time.Sleep(time.Second)
	synctest.Wait() // what was held back at the end is not reported
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if others != 8 {
		t.Errorf("the other listener was told %d times", others)
	}
}

func TestMeterDoesNotKnowTheWholeWhereALayersSizeIsNotKnown(t *testing.T) {
	var got []event.Progress
	m := newMeter(func(p event.Progress) { got = append(got, p) })
	m.add(unpack.Progress{Layer: digest.FromString("a"), Bytes: 10, Total: -1, State: unpack.Unpacking})
	if len(got) != 1 || got[0].Total != 0 || got[0].Bytes != 10 {
		t.Errorf("got %+v", got)
	}
}
