package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stepexec/stepexec/cache"
	"github.com/stepexec/stepexec/cache/depottest"
)

const secretKey = "a secret of the test"

// startService builds and starts versitygw, a service of the protocol that checks signatures, with
// the bucket "caches". It returns its URL, and the folder that holds its buckets.
func startService(t *testing.T) (endpoint, data string) {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "versitygw")
	data = filepath.Join(dir, "data")
	build := exec.Command("go", "build", "-o", program, "github.com/versity/versitygw/cmd/versitygw")
	build.Dir = "../../fixtures/s3"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build versitygw: %v: %s", err, out)
	}
	if err := os.MkdirAll(filepath.Join(data, "caches"), 0o700); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--port", address, "--region", "eu-central-1", "posix", data)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY=key", "ROOT_SECRET_KEY="+secretKey)
	// Should the test program die, so must the service: Pdeathsig is sent when the thread that
	// started the process ends (prctl(2)).
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed, so it never succeeds
		runtime.UnlockOSThread()
	})
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			return "http://" + address, data
		}
		if time.Now().After(end) {
			t.Fatalf("versitygw does not listen at %s after a minute: %v", address, err)
		}
	}
}

func TestARealServiceIsADepot(t *testing.T) {
	endpoint, _ := startService(t)
	environment(t, endpoint)
	t.Setenv("AWS_SESSION_TOKEN", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", secretKey)
	depottest.Run(t, func() cache.Depot { return open(t, "s3://caches/some/prefix") })

	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	if _, err := open(t, "s3://caches").Entry(t.Context(), "key-0"); err == nil || !strings.Contains(err.Error(), `403 Forbidden ("SignatureDoesNotMatch")`) {
		t.Errorf("with a wrong key: %v", err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	if _, err := open(t, "s3://caches").Entry(t.Context(), "key-0"); err == nil || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set") {
		t.Errorf("without a key: %v", err)
	}
}

// TestARealServiceTakesParts uploads parts of the smallest size that the protocol allows.
func TestARealServiceTakesParts(t *testing.T) {
	endpoint, folder := startService(t)
	environment(t, endpoint)
	t.Setenv("AWS_SESSION_TOKEN", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", secretKey)
	const size = 12 << 20
	u, content := packed(t, size)
	depot := openWithParts(t, "s3://caches/some/prefix", 5<<20)

	interrupted, interrupt := context.WithCancel(t.Context())
	cut := u
	var read atomic.Int64
	cut.Watch = func(r io.Reader) io.Reader {
		return readerFunc(func(p []byte) (int, error) {
			n, err := r.Read(p)
			if read.Add(int64(n)) > size/2 {
				interrupt()
			}
			return n, err
		})
	}
	if err := depot.Put(interrupted, cut); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if left := largeFiles(t, folder); len(left) != 0 {
		t.Errorf("an interrupted upload left %v", left)
	}
	if err := depot.Put(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	object, err := depot.Data(t.Context(), u.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer object.Close()
	if got, err := io.ReadAll(object); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the service returned %d bytes that are not those that it got: %v", len(got), err)
	}
	if left := largeFiles(t, folder); len(left) != 1 {
		t.Errorf("beside the object there is %v", left)
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// largeFiles returns the files of a folder that can hold parts.
func largeFiles(t *testing.T, folder string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Size() > 1<<10 {
			all = append(all, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
