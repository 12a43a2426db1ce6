package s3_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stepexec/stepexec/cache"
	"github.com/stepexec/stepexec/cache/depottest"
)

const secretKey = "a secret of the test"

// startService builds and starts versitygw, a service of the protocol that checks signatures, with
// the bucket "caches". It returns its URL.
func startService(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	program, data := filepath.Join(dir, "versitygw"), filepath.Join(dir, "data")
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
			return "http://" + address
		}
		if time.Now().After(end) {
			t.Fatalf("versitygw does not listen at %s after a minute: %v", address, err)
		}
	}
}

func TestARealServiceIsADepot(t *testing.T) {
	environment(t, startService(t))
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
