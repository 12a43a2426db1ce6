package main

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
)

// What a registry sends without having been asked does not reach the output.
func TestARegistryCannotWriteToTheOutput(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		conn, buffer, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		for range 5 {
			_, _ = buffer.WriteString("HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\nhunter2\r\n")
		}
		_ = buffer.Flush()
		_, _ = buffer.ReadByte() // until the client goes away
	}))
	t.Cleanup(server.Close)
	out, err := exec.Command("stepexec", "pull", "--root", t.TempDir(), "--settings", "/dev/null", server.Listener.Addr().String()+"/x:1").CombinedOutput()
	if err == nil || !strings.HasPrefix(string(out), "stepexec: pull ") || strings.Count(string(out), "\n") != 1 {
		t.Errorf("%v, with the output\n%s", err, out)
	}
}
