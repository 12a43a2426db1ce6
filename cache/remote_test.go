package cache

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"
)

// memory is a depot that a test can tamper with.
type memory struct {
	mu      sync.Mutex
	entries map[string][]byte
	data    map[string][]byte
	err     error                       // of everything
	deliver func(r io.Reader) io.Reader // changes what data are read; nil: nothing
	asked   int
	stuck   bool  // an answer never comes
	refused error // of Put
}

func newMemory() *memory { return &memory{entries: map[string][]byte{}, data: map[string][]byte{}} }

func (m *memory) ask(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asked++; m.stuck {
		<-ctx.Done()
		return ctx.Err()
	}
	return m.err
}

func (m *memory) Entry(ctx context.Context, address string) ([]byte, error) {
	if err := m.ask(ctx); err != nil {
		return nil, err
	}
	if text, there := m.entries[address]; there {
		return text, nil
	}
	return nil, fs.ErrNotExist
}

func (m *memory) Data(ctx context.Context, digest string) (io.ReadCloser, error) {
	if err := m.ask(ctx); err != nil {
		return nil, err
	}
	if _, there := m.data[digest]; !there {
		return nil, fs.ErrNotExist
	}
	var r io.Reader = bytes.NewReader(m.data[digest])
	if m.deliver != nil {
		r = m.deliver(r)
	}
	return io.NopCloser(r), nil
}

func (m *memory) Put(ctx context.Context, u Upload) error {
	if err := m.ask(ctx); err != nil {
		return err
	}
	if m.refused != nil {
		return m.refused
	}
	data, err := io.ReadAll(u.Watch(io.NewSectionReader(u.Data, 0, u.Size)))
	m.data[u.Digest] = data
	for _, address := range u.Addresses {
		m.entries[address] = u.Description
	}
	return err
}

func (m *memory) Addresses(context.Context) ([]string, error) {
	var all []string
	for address := range m.entries {
		if IsWholeKey(address) {
			all = append(all, address)
		}
	}
	return all, m.err
}

func (m *memory) Remove(context.Context, []string, string) error { return m.err }
func (m *memory) Close()                                         {}

func (m *memory) store(t *testing.T, p Patience) *Remote {
	return NewRemote("store", m, t.TempDir(), p)
}

// change changes the descriptions of all entries.
func (m *memory) change(t *testing.T, how func(e *Entry)) {
	for address, text := range m.entries {
		var e Entry
		must(t, json.Unmarshal(text, &e))
		how(&e)
		text, err := json.Marshal(e)
		must(t, err)
		m.entries[address] = text
	}
}

func TestAStoreThatLiesIsNotBelieved(t *testing.T) {
	main, key := branch("main"), Key{"os", "sum"}
	for _, test := range []struct {
		name   string
		tamper func(m *memory)
		want   string
	}{
		{"content of the right form", func(m *memory) {
			for digest := range m.data {
				m.data[digest] = archive(t)
			}
		}, "the data are damaged"},
		{"one byte more", func(m *memory) {
			m.deliver = func(r io.Reader) io.Reader { return io.MultiReader(r, strings.NewReader("x")) }
		}, ""},
		{"endless data", func(m *memory) { m.deliver = func(r io.Reader) io.Reader { return io.MultiReader(r, endless{}) } }, ""},
		{"data that end early", func(m *memory) { m.deliver = func(r io.Reader) io.Reader { return io.LimitReader(r, 20) } }, "deliver"},
		{"no data", func(m *memory) {
			for digest := range m.data {
				m.data[digest] = nil
			}
		}, "damaged"},
		{"data that break", func(m *memory) {
			m.deliver = func(r io.Reader) io.Reader {
				return io.MultiReader(io.LimitReader(r, 20), iotest.ErrReader(errors.New("broken")))
			}
		}, "broken"},
		{"the entry of another scope", func(m *memory) { m.change(t, func(e *Entry) { e.Scope = "a/b event pull_request/1" }) }, "of another key or scope"},
		{"the entry of another name", func(m *memory) { m.change(t, func(e *Entry) { e.Name = "other" }) }, "of another key or scope"},
		{"the entry of another key", func(m *memory) { m.change(t, func(e *Entry) { e.Key = Key{"os", "other"} }) }, "of another key or scope"},
		{"a digest that is a path", func(m *memory) { m.change(t, func(e *Entry) { e.Digest = "../../x" }) }, "has no digest"},
		{"no size", func(m *memory) { m.change(t, func(e *Entry) { e.Packed = 0 }) }, "has no digest or no size"},
		{"no JSON", func(m *memory) {
			for address := range m.entries {
				m.entries[address] = []byte("<html>")
			}
		}, "not valid JSON"},
		{"an error", func(m *memory) { m.err = errors.New("the registry answered 500") }, "answered 500"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMemory()
			must(t, m.store(t, Patience{}).Save(t.Context(), Item{Scope: main.Write, Name: "deps", Key: key}, folder(t, "content"), Limits{}))
			test.tamper(m)
			s := m.store(t, Patience{})
			query := Query{Scopes: main, Name: "deps", Key: key}
			_, found, err := s.Restore(t.Context(), query, t.TempDir(), Limits{})
			if found || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("found %v, error %v, want %q", found, err, test.want)
			}
			asked := m.asked
			if _, _, err := s.Restore(t.Context(), query, t.TempDir(), Limits{}); err == nil || !strings.Contains(err.Error(), "not asked again") || m.asked != asked {
				t.Errorf("it was asked again: %v", err)
			}
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestAnEntryWhoseDataTheStoreHasLostIsReplaced(t *testing.T) {
	m, main := newMemory(), branch("main")
	query := Query{Scopes: main, Name: "deps", Key: Key{"os", "sum"}}
	item := Item{Scope: main.Write, Name: "deps", Key: query.Key}
	must(t, m.store(t, Patience{}).Save(t.Context(), item, folder(t, "content"), Limits{}))
	clear(m.data)
	s := m.store(t, Patience{})
	if _, found, err := s.Restore(t.Context(), query, t.TempDir(), Limits{}); found || err == nil || !strings.Contains(err.Error(), "has lost its data") {
		t.Fatalf("found %v, error %v", found, err)
	}
	must(t, s.Save(t.Context(), item, folder(t, "content"), Limits{}))
	got, found, err := m.store(t, Patience{}).Restore(t.Context(), query, t.TempDir(), Limits{})
	if err != nil || !found || !got.Exact {
		t.Errorf("found %v, %+v, %v", found, got, err)
	}
}

// A store that does not exist has no entries, which is no error before something is saved.
func TestSavingToAStoreThatDoesNotExistSaysSo(t *testing.T) {
	m := newMemory()
	m.refused = fs.ErrNotExist
	err := m.store(t, Patience{}).Save(t.Context(), Item{Scope: "s", Name: "deps", Key: Key{"os"}}, folder(t, "x"), Limits{})
	if err == nil || !strings.Contains(err.Error(), "take an entry: it has no such place (does the repository or bucket exist") {
		t.Errorf("saved: %v", err)
	}
}

func TestAStoreThatDoesNotAnswerCostsItsPatienceOnce(t *testing.T) {
	m := newMemory()
	m.stuck = true
	s := m.store(t, Patience{Lookup: time.Millisecond})
	_, _, err := s.Restore(t.Context(), Query{Scopes: branch("main"), Name: "deps", Key: Key{"os"}}, t.TempDir(), Limits{})
	if err == nil || !strings.Contains(err.Error(), "find an entry: it took longer than 1ms") {
		t.Errorf("restored: %v", err)
	}
	if err := s.Save(t.Context(), Item{Scope: "s", Name: "deps", Key: Key{"os"}}, folder(t, "x"), Limits{}); err == nil || !strings.Contains(err.Error(), "not asked again") {
		t.Errorf("saved: %v", err)
	}
}

func TestATransferThatStallsEnds(t *testing.T) {
	for name, patience := range map[string]Patience{
		"less than 1 MiB in 1ms": {Stall: time.Millisecond}, "it took longer than 1ms": {Transfer: time.Millisecond},
	} {
		m, key := newMemory(), Key{"os"}
		must(t, m.store(t, Patience{}).Save(t.Context(), Item{Scope: "s", Name: "deps", Key: key}, folder(t, "content"), Limits{}))
		var ended context.Context
		m.deliver = func(io.Reader) io.Reader {
			return readerFunc(func(p []byte) (int, error) { // a byte now and then
				select {
				case <-ended.Done():
					return 0, ended.Err()
				default:
					return 1, nil
				}
			})
		}
		s := m.store(t, patience)
		var stop context.CancelFunc
		ended, stop = context.WithTimeout(t.Context(), time.Minute)
		_, _, err := s.Restore(t.Context(), Query{Scopes: Scopes{Read: []string{"s"}}, Name: "deps", Key: key}, t.TempDir(), Limits{})
		stop()
		if err == nil || !strings.Contains(err.Error(), name) && !strings.Contains(err.Error(), "deliver the entry") {
			t.Errorf("want %q: %v", name, err)
		}
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// What was packed has no name while it is sent, so a run that is killed leaves nothing.
func TestSavingLeavesNothingBehind(t *testing.T) {
	m, temp := newMemory(), t.TempDir()
	m.err = fs.ErrPermission
	s := NewRemote("store", m, temp, Patience{})
	if err := s.Save(t.Context(), Item{Scope: "s", Name: "deps", Key: Key{"os"}}, folder(t, "x"), Limits{}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("saved: %v", err)
	}
	m.err = nil
	must(t, NewRemote("store", m, temp, Patience{}).Save(t.Context(), Item{Scope: "s", Name: "deps", Key: Key{"os"}}, folder(t, "x"), Limits{}))
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := NewRemote("store", m, temp, Patience{}).Save(t.Context(), Item{Scope: "s", Name: "deps", Key: Key{"new"}}, folder(t, "four"), Limits{Bytes: 3}); err == nil {
		t.Error("a folder that is too large was saved")
	}
}
