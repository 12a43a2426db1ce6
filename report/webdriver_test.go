package report_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// browser is a Chromium, driven by W3C WebDriver (https://www.w3.org/TR/webdriver2/).
type browser struct {
	t   *testing.T
	url string // of the session
}

var driverPort = regexp.MustCompile(`started successfully on port (\d+)`)

// openBrowser starts a Chromium without a window. It ends with the test.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	driver := exec.Command("chromedriver", "--port=0")
	out, err := driver.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := driver.Start(); err != nil {
		t.Fatalf("%v (scripts/install-packages.sh installs what the tests need)", err)
	}
	t.Cleanup(func() {
		_ = driver.Process.Kill()
		_ = driver.Wait() // it was killed
	})
	b := &browser{t: t}
	for lines := bufio.NewScanner(out); b.url == "" && lines.Scan(); {
		if match := driverPort.FindStringSubmatch(lines.Text()); match != nil {
			b.url = "http://127.0.0.1:" + match[1]
		}
	}
	var session struct{ SessionID string }
	b.call(http.MethodPost, "/session", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"browserName": "chrome",
		"goog:chromeOptions": map[string]any{"binary": "/usr/bin/chromium", "args": []string{
			"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
			"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1280,900",
			"--user-data-dir=" + t.TempDir(), "about:blank",
		}},
		"goog:loggingPrefs": map[string]string{"browser": "ALL", "performance": "ALL"},
	}}}, &session)
	b.url += "/session/" + session.SessionID
	t.Cleanup(func() { b.call(http.MethodDelete, "", nil, nil) })
	b.call(http.MethodPost, "/timeouts", map[string]any{"script": 300_000, "pageLoad": 300_000}, nil)
	return b
}

// call makes a WebDriver command and puts its value into value.
func (b *browser) call(method, path string, body, value any) {
	b.t.Helper()
	if body == nil {
		body = map[string]any{}
	}
	data, err := json.Marshal(body)
	if err != nil {
		b.t.Fatal(err)
	}
	request, err := http.NewRequest(method, b.url+path, bytes.NewReader(data))
	if err != nil {
		b.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct{ Value json.RawMessage }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	if response.StatusCode != http.StatusOK {
		b.t.Fatalf("%s %s: %s", method, path, answer.Value)
	}
	if value != nil {
		if err := json.Unmarshal(answer.Value, value); err != nil {
			b.t.Fatalf("%s %s: %v in %s", method, path, err, answer.Value)
		}
	}
}

// run runs the body of a function in the page and returns what it, or its promise,
// returns, as text.
func (b *browser) run(script string) string {
	b.t.Helper()
	var value any
	b.call(http.MethodPost, "/execute/sync", map[string]any{"script": script, "args": []any{}}, &value)
	if text, ok := value.(string); ok {
		return text
	}
	data, err := json.Marshal(value)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(data)
}

// expect runs a script, again and again until it returns what is wanted: the page
// changes in its own time. It gives up after two minutes.
func (b *browser) expect(script, want string) {
	b.t.Helper()
	got := b.run(`const now = () => { try { return String((() => {` + script + `})()); } catch (e) { return String(e); } };
		return new Promise((done) => {
			const began = performance.now();
			const look = () => now() === ` + quoted(want) + ` || performance.now() - began > 120000 ? done(now()) : requestAnimationFrame(look);
			look();
		});`)
	if got != want {
		b.t.Errorf("%s\ngot %q, not %q", script, got, want)
	}
}

func quoted(text string) string {
	data, _ := json.Marshal(text) // a string cannot fail
	return string(data)
}

// press presses keys, as WebDriver writes them (section 17.4.2).
func (b *browser) press(keys ...string) {
	b.t.Helper()
	var actions []map[string]string
	for _, key := range keys {
		actions = append(actions, map[string]string{"type": "keyDown", "value": key}, map[string]string{"type": "keyUp", "value": key})
	}
	b.call(http.MethodPost, "/actions", map[string]any{"actions": []any{map[string]any{"type": "key", "id": "keyboard", "actions": actions}}}, nil)
}

const (
	keyTab   = "\ue004"
	keyEnter = "\ue007"
	keyEsc   = "\ue00c"
	keyDown  = "\ue015"
)

// devtools runs a command of the DevTools protocol.
func (b *browser) devtools(command string, parameters map[string]any, value any) {
	b.t.Helper()
	b.call(http.MethodPost, "/goog/cdp/execute", map[string]any{"cmd": command, "params": parameters}, value)
}

func (b *browser) open(path string) {
	b.t.Helper()
	b.call(http.MethodPost, "/url", map[string]any{"url": "file://" + path}, nil)
}

// checkQuiet fails when the page complained, or asked for anything but itself.
func (b *browser) checkQuiet(page string) {
	b.t.Helper()
	var console []struct{ Level, Message string }
	b.call(http.MethodPost, "/se/log", map[string]any{"type": "browser"}, &console)
	for _, entry := range console {
		b.t.Errorf("console: %s: %s", entry.Level, entry.Message)
	}
	var events []struct{ Message string }
	b.call(http.MethodPost, "/se/log", map[string]any{"type": "performance"}, &events)
	pages := 0
	for _, event := range events {
		var e struct {
			Message struct {
				Method string
				Params struct {
					DocumentURL string
					Request     struct{ URL string }
				}
			}
		}
		if err := json.Unmarshal([]byte(event.Message), &e); err != nil {
			b.t.Fatal(err)
		}
		if e.Message.Method != "Network.requestWillBeSent" || strings.HasPrefix(e.Message.Params.DocumentURL, "chrome:") {
			continue // the latter is the new window's own page
		}
		url, _, _ := strings.Cut(e.Message.Params.Request.URL, "#")
		if url == "file://"+page {
			pages++
		} else {
			b.t.Errorf("the page asked for %s", url)
		}
	}
	if pages == 0 {
		b.t.Error("the browser's log of requests lacks the page itself")
	}
}

// screenshot writes what is seen to a file of SCREENSHOTS, if that is set, for people to look at.
func (b *browser) screenshot(name string) {
	b.t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	var data string
	b.call(http.MethodGet, "/screenshot", nil, &data)
	png, err := base64.StdEncoding.DecodeString(data)
	if err == nil {
		err = os.WriteFile(fmt.Sprintf("%s/%s.png", dir, name), png, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) resize(width, height int) {
	b.t.Helper()
	b.devtools("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
}

func (b *browser) theme(name string) {
	b.t.Helper()
	b.devtools("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]string{"name": "prefers-color-scheme", "value": name}}}, nil)
}
