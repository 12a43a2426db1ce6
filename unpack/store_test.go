package unpack_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/unpack"
)

// childEnv makes the test binary a second stepexec: it unpacks the test image into the store that it names.
const childEnv = "UNPACK_TEST_CHILD"

func TestMain(m *testing.M) {
	root := os.Getenv(childEnv)
	if root == "" {
		os.Exit(m.Run())
	}
	if err := childUnpack(root); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// childUnpack unpacks one layer that arrives on stdin and says on stdout how it went.
func childUnpack(root string) error {
	s, err := unpack.OpenStore(root)
	if err != nil {
		return err
	}
	diffID, err := digest.Parse(os.Args[1])
	if err != nil {
		return err
	}
	opened := false
	layer := unpack.Layer{DiffID: diffID, Size: -1, Open: func(context.Context) (io.ReadCloser, error) {
		opened = true
		fmt.Println("opened")
		return os.Stdin, nil
	}}
	dirs, err := s.Unpack(context.Background(), []unpack.Layer{layer}, nil)
	fmt.Println("done", opened, dirs)
	return err
}

type child struct {
	*exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Scanner
}

func startChild(t *testing.T, root string, diffID digest.Digest) child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, diffID.String())
	cmd.Env = append(os.Environ(), childEnv+"="+root)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return child{cmd, stdin, bufio.NewScanner(stdout)}
}

// says waits for the child's next line.
func (c child) says(t *testing.T, want string) {
	t.Helper()
	if !c.stdout.Scan() || !strings.HasPrefix(c.stdout.Text(), want) {
		t.Fatalf("child says %q, want %q", c.stdout.Text(), want)
	}
}

func TestSecondProcessWaitsAndFinds(t *testing.T) {
	data := tarOf(t, file("a", content(2<<20)))
	s, root := openStore(t)
	layer := streamLayerOf(data)
	c := startChild(t, root, layer.DiffID)
	c.says(t, "opened")

	layer.Open = func(context.Context) (io.ReadCloser, error) {
		return nil, errors.New("opened although another process has the layer")
	}
	waiting := make(chan struct{})
	result := make(chan error, 1)
	var states []string
	go func() {
		_, err := s.Unpack(t.Context(), []unpack.Layer{layer}, func(p unpack.Progress) {
			states = append(states, string(p.State))
			if p.State == unpack.Waiting {
				close(waiting)
			}
		})
		result <- err
	}()
	<-waiting
	if s.Has(layer.DiffID) {
		t.Error("the layer is there before it is complete")
	}
	if _, err := c.stdin.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := c.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	c.says(t, "done true")
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
	if got := strings.Join(states, " "); got != "waiting present" {
		t.Errorf("states %q", got)
	}
	assertClean(t, root, 1)
}

func TestWaitingForAnotherProcessIsCancellable(t *testing.T) {
	s, root := openStore(t)
	layer := layerOf(t, file("a", ""))
	c := startChild(t, root, layer.DiffID)
	c.says(t, "opened")
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.Unpack(ctx, []unpack.Layer{layer}, func(p unpack.Progress) {
		if p.State == unpack.Waiting {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v", err)
	}
}

func TestKilledProcessLeavesNothingThatMatters(t *testing.T) {
	data := tarOf(t, file("a", content(2<<20)), dir("d"), file("d/b", "b"))
	layer := streamLayerOf(data)
	for name, again := range map[string]func(*testing.T, *unpack.Store, string){
		"unpacked again by a store that was open": func(t *testing.T, s *unpack.Store, root string) {
			if _, err := s.Unpack(t.Context(), []unpack.Layer{layer}, nil); err != nil {
				t.Error(err)
			}
			assertClean(t, root, 1)
		},
		"swept by the next store": func(t *testing.T, _ *unpack.Store, root string) {
			if _, err := unpack.OpenStore(root); err != nil {
				t.Error(err)
			}
			assertClean(t, root, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, root := openStore(t)
			c := startChild(t, root, layer.DiffID)
			c.says(t, "opened")
			if _, err := c.stdin.Write(data[:len(data)-100]); err != nil {
				t.Fatal(err)
			}
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = c.Wait() // killed
			if tmp, err := os.ReadDir(filepath.Join(root, "tmp")); err != nil || len(tmp) != 1 {
				t.Fatalf("tmp has %v, error %v: the test did not kill in the middle", tmp, err)
			}
			if s.Has(layer.DiffID) {
				t.Error("half a layer is to be seen")
			}
			again(t, s, root)
		})
	}
}

func TestOpenStoreLeavesLiveWorkAlone(t *testing.T) {
	_, root := openStore(t)
	data := tarOf(t, file("a", "a"))
	c := startChild(t, root, digest.FromBytes(data))
	c.says(t, "opened")
	if _, err := unpack.OpenStore(root); err != nil {
		t.Fatal(err)
	}
	if _, err := c.stdin.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := c.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	c.says(t, "done true")
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

func TestManyAtOnceUnpackEachLayerOnce(t *testing.T) {
	first, root := openStore(t)
	second, err := unpack.OpenStore(root)
	if err != nil {
		t.Fatal(err)
	}
	var opened atomic.Int64
	var layers []unpack.Layer
	for i := range 6 {
		l := layerOf(t, file(fmt.Sprint("shared/f", i), content(100_000)), link(fmt.Sprint("l", i), "shared/f0"))
		open := l.Open
		l.Open = func(ctx context.Context) (io.ReadCloser, error) { opened.Add(1); return open(ctx) }
		layers = append(layers, l)
	}
	layers = append(layers, layers[2], layers[3]) // twice in one image
	var wg sync.WaitGroup
	results := make([][]string, 16)
	for i := range results {
		s := []*unpack.Store{first, second}[i%2]
		wg.Go(func() {
			dirs, err := s.Unpack(t.Context(), layers, func(unpack.Progress) {})
			if err != nil {
				t.Error(err)
			}
			results[i] = dirs
		})
	}
	wg.Wait()
	if opened.Load() != 6 {
		t.Errorf("%d streams were opened for 6 layers", opened.Load())
	}
	for _, dirs := range results {
		if diff := cmp.Diff(results[0], dirs); diff != "" {
			t.Errorf("lowerdirs differ:\n%s", diff)
		}
	}
	assertClean(t, root, 6)
	if got := snapshot(t, overlay(t, results[0])); got["l5"].Type != "file" || got["l5"].Nlink != 6 {
		t.Errorf("l5 is %+v, want one file of the names l1 to l5 and shared/f0", got["l5"])
	}
}

// After a power loss the layers that Settle has not covered are unpacked anew.
func TestPowerLoss(t *testing.T) {
	needRoot(t)
	layers := []unpack.Layer{layerOf(t, dir("tmp", mode(0o1777))), layerOf(t, file("tmp/x", ""))}
	// Another boot is a marker with another boot id.
	loss := func(t *testing.T, root string, marker []byte) (lost int) {
		t.Helper()
		for _, pattern := range []string{"layers/sha256/*/unsettled", "fixups/*/unsettled"} {
			paths, err := filepath.Glob(filepath.Join(root, pattern))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range paths {
				lost++
				if err := os.WriteFile(path, marker, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		return lost
	}
	for name, c := range map[string]struct {
		settle bool
		marker string
		lost   int
	}{
		"not settled":                {false, "another-boot", 3},
		"not settled, marker empty":  {false, "", 3},
		"settled before power's end": {true, "another-boot", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, root := openStore(t)
			want, err := s.Unpack(t.Context(), layers, nil)
			if err != nil {
				t.Fatal(err)
			}
			if c.settle {
				if err := s.Settle(); err != nil {
					t.Fatal(err)
				}
			}
			if lost := loss(t, root, []byte(c.marker)); lost != c.lost {
				t.Errorf("%d directories were unsettled, want %d", lost, c.lost)
			}
			s = reopen(t, root)
			for _, l := range layers {
				if got := s.Has(l.DiffID); got != c.settle {
					t.Errorf("Has %s is %v", l.DiffID, got)
				}
			}
			if _, ok := s.Lowerdirs(diffIDs(layers)); ok != c.settle {
				t.Errorf("Lowerdirs is %v", ok)
			}
			if err := s.Settle(); err != nil { // must not bless what is lost
				t.Fatal(err)
			}
			if s.Has(layers[0].DiffID) != c.settle {
				t.Error("Settle made a lost layer trusted")
			}
			got, err := s.Unpack(t.Context(), layers, nil)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("unpacked again: error %v, lowerdirs differ:\n%s", err, diff)
			}
			if !s.Has(layers[0].DiffID) || !s.Has(layers[1].DiffID) {
				t.Error("a layer is missing")
			}
			assertClean(t, root, 2)
		})
	}
}

func TestStoreIsPrivate(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	root := filepath.Join(plainDir(t), "a", "store")
	if _, err := unpack.OpenStore(root); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(root, "layers"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := unpack.OpenStore(root); err != nil {
		t.Fatal(err)
	}
	for path, n := range snapshot(t, root) {
		if n.Type == "dir" && n.Mode != 0o700 {
			t.Errorf("%s has mode %o", path, n.Mode)
		}
	}
}

func TestOpenStoreRefusesFoldersOfOthers(t *testing.T) {
	needRoot(t)
	for name, plant := range map[string]func(path string) error{
		"other owner": func(path string) error { return errors.Join(os.Mkdir(path, 0o700), os.Chown(path, 1000, 1000)) },
		"symlink":     func(path string) error { return os.Symlink("/tmp", path) },
		"file":        func(path string) error { return os.WriteFile(path, nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			root := plainDir(t)
			if err := plant(filepath.Join(root, "layers")); err != nil {
				t.Fatal(err)
			}
			if _, err := unpack.OpenStore(root); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestImages(t *testing.T) {
	s, root := openStore(t)
	record := func(reference, platform string) unpack.ImageRecord {
		return unpack.ImageRecord{
			Reference: reference, Platform: platform, Manifest: digest.FromString(reference), Config: json.RawMessage(`{"os":"linux"}`),
			Layers: []unpack.RecordLayer{{DiffID: digest.FromString("d"), Digest: digest.FromString("c"), Size: 5}, {DiffID: digest.FromString("e"), Size: -1}},
			Pulled: time.Unix(1e9, 5).UTC(),
		}
	}
	want := []unpack.ImageRecord{record("../../etc/passwd", "linux/amd64"), record("a:1", "linux/amd64"), record("a:1", "linux/arm64"), record("b", "linux/amd64")}
	if _, err := s.Image("a:1", "linux/amd64"); !errors.Is(err, unpack.ErrNotFound) {
		t.Errorf("got error %v, want ErrNotFound", err)
	}
	for _, i := range []int{3, 1, 0, 2, 1} {
		if err := s.SaveImage(t.Context(), want[i]); err != nil {
			t.Fatal(err)
		}
	}
	usages, err := s.Usage()
	var got []unpack.ImageRecord
	for _, usage := range usages {
		usage.Config = compact(t, usage.Config)
		got = append(got, usage.ImageRecord)
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("error %v, records differ:\n%s", err, diff)
	}
	one, err := s.Image("a:1", "linux/arm64")
	if err != nil || one.Platform != "linux/arm64" {
		t.Errorf("got %+v, error %v", one, err)
	}
	entries, err := os.ReadDir(filepath.Join(root, "images"))
	if err != nil || len(entries) != 4 {
		t.Errorf("images has %v, error %v", entries, err)
	}
}

func compact(t *testing.T, raw json.RawMessage) json.RawMessage {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestImagesSavedAtOnceAreWhole(t *testing.T) {
	s, _ := openStore(t)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			r := unpack.ImageRecord{Reference: "same", Platform: "p", Config: json.RawMessage(fmt.Sprintf(`{"n":"%s"}`, strings.Repeat("x", i*1000)))}
			if err := s.SaveImage(t.Context(), r); err != nil {
				t.Error(err)
			}
			if _, err := s.Image("same", "p"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
