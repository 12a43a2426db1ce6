package ui_test

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/record"
	"github.com/stepexec/stepexec/ui"
)

// ask makes a request without the client's cookie unless it is given.
func (s *served) ask(method, address string, header map[string]string) *http.Response {
	s.t.Helper()
	request, err := http.NewRequest(method, address, nil)
	must(s.t, err)
	for name, value := range header {
		request.Header.Set(name, value)
		if name == "Host" {
			request.Host = value
		}
	}
	response, err := s.client.Transport.RoundTrip(request)
	must(s.t, err)
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	must(s.t, err)
	return response
}

// cookie is the cookie that the client has for the token.
func (s *served) cookie() string {
	s.t.Helper()
	at, err := url.Parse(s.base)
	must(s.t, err)
	for _, c := range s.client.Jar.Cookies(at) {
		return c.Name + "=" + c.Value
	}
	s.t.Fatal("the token gave no cookie")
	return ""
}

func TestOnlyWhoHasTheTokenSeesAnything(t *testing.T) {
	s := serve(t, ui.Options{Root: t.TempDir()})
	if s.base == s.url || strings.Contains(s.base, "token") {
		t.Errorf("the token stays in the address: %s", s.base)
	}
	response := s.ask(http.MethodGet, s.url, nil)
	set := response.Header.Get("Set-Cookie")
	for _, attribute := range []string{"HttpOnly", "SameSite=Strict", "Path=/"} {
		if !strings.Contains(set, attribute) {
			t.Errorf("the cookie %q has no %s", set, attribute)
		}
	}
	if path := regexp.MustCompile(`Path=/[0-9a-f]{16}/`); !path.MatchString(set) {
		t.Errorf("the cookie %q goes to other servers of this machine: its path can be guessed", set)
	}
	token := s.url[strings.Index(s.url, "token=")+len("token="):]
	if strings.Contains(set, token) {
		t.Error("the cookie is the token")
	}
	root := "http://" + s.host
	for _, test := range []struct {
		name, address, cookie string
		want                  int
	}{
		{"cookie", s.base, s.cookie(), http.StatusOK},
		{"nothing", s.base, "", http.StatusUnauthorized},
		{"wrong cookie", s.base, "stepexec-ui=" + token, http.StatusUnauthorized},
		{"empty cookie", s.base, "stepexec-ui=", http.StatusUnauthorized},
		{"wrong token", s.base + "?token=" + strings.Repeat("0", len(token)), "", http.StatusUnauthorized},
		{"empty token", s.base + "?token=", "", http.StatusUnauthorized},
		{"token elsewhere", s.base + "storage?token=" + token, "", http.StatusUnauthorized},
		{"token without the path", root + "/?token=" + token, "", http.StatusUnauthorized},
		{"cookie without the path", root + "/", s.cookie(), http.StatusUnauthorized},
		{"files", s.base + "files/style.css", "", http.StatusUnauthorized},
		{"events", s.base + "events", "", http.StatusUnauthorized},
	} {
		header := map[string]string{}
		if test.cookie != "" {
			header["Cookie"] = test.cookie
		}
		if got := s.ask(http.MethodGet, test.address, header).StatusCode; got != test.want {
			t.Errorf("%s: %d, not %d", test.name, got, test.want)
		}
	}
	if got := s.ask(http.MethodPost, s.url, map[string]string{"Origin": root}).StatusCode; got != http.StatusUnauthorized {
		t.Errorf("a POST with the token: %d", got)
	}
}

func TestRequestsFromElsewhereAreRefusedAlsoWithTheCookie(t *testing.T) {
	s := serve(t, ui.Options{Root: t.TempDir()})
	_, port, _ := strings.Cut(s.host, ":")
	for _, test := range []struct {
		name, method string
		header       map[string]string
		want         int
	}{
		{"itself", "GET", map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": "http://" + s.host}, http.StatusOK},
		{"typed", "GET", map[string]string{"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, http.StatusOK},
		{"localhost", "GET", map[string]string{"Host": "localhost:" + port}, http.StatusOK},
		{"rebound name", "GET", map[string]string{"Host": "evil.example:" + port}, http.StatusMisdirectedRequest},
		{"no port", "GET", map[string]string{"Host": "127.0.0.1"}, http.StatusMisdirectedRequest},
		{"other port", "GET", map[string]string{"Host": "127.0.0.1:1"}, http.StatusMisdirectedRequest},
		{"other address", "GET", map[string]string{"Host": "127.0.0.2:" + port}, http.StatusMisdirectedRequest},
		{"name that begins alike", "GET", map[string]string{"Host": s.host + ".evil.example"}, http.StatusMisdirectedRequest},
		{"foreign origin", "GET", map[string]string{"Origin": "http://evil.example"}, http.StatusForbidden},
		{"other scheme", "GET", map[string]string{"Origin": "https://" + s.host}, http.StatusForbidden},
		{"no origin at all", "GET", map[string]string{"Origin": "null"}, http.StatusForbidden},
		{"part of a foreign page", "GET", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, http.StatusForbidden},
		{"part of a page of another port", "GET", map[string]string{"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, http.StatusForbidden},
		{"form of another port", "POST", map[string]string{"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Origin": "http://127.0.0.1:1"}, http.StatusForbidden},
		{"form without an origin", "POST", nil, http.StatusForbidden},
		{"other method", "PUT", map[string]string{"Origin": "http://" + s.host}, http.StatusMethodNotAllowed},
	} {
		header := map[string]string{"Cookie": s.cookie()}
		for name, value := range test.header {
			header[name] = value
		}
		if got := s.ask(test.method, s.base, header).StatusCode; got != test.want {
			t.Errorf("%s: %d, not %d", test.name, got, test.want)
		}
	}
}

// hostile is in every name of a hostile run.
const hostile = `<script>alert(1)</script>"'><img src=x onerror=alert(2)> {{.}} javascript:alert(3)` + "\x1b[31m\u202e\r\n::set-output"

// hostileRun keeps a run whose every text is a stranger's.
func hostileRun(t *testing.T, root, id string) {
	t.Helper()
	r, events := ended(id, event.Failed, 0)
	r.Name, r.Cell, r.User, r.File = hostile, hostile, hostile, hostile
	r.Build = &event.Build{Repo: hostile, Event: hostile, Branch: hostile, Commit: hostile, Message: hostile, Author: hostile}
	r.Steps = []record.StepRecord{{Name: hostile, Image: hostile}}
	r.Summary.Name = hostile
	r.Summary.Error = hostile
	s := &r.Summary.Steps[0]
	s.Step, s.Image, s.Error, s.File, s.Line = hostile, hostile, hostile, hostile, 3
	events[0].Name, events[0].Build = hostile, r.Build
	events[1].Step, events[1].Image = hostile, hostile
	events[2].Step, events[2].Text = hostile, hostile
	events[3].Step, events[3].Result = hostile, s
	keep(t, root, r, events...)
}

var (
	inlineScript = regexp.MustCompile(`<script(?:\s[^>]*)?>`)
	allowed      = regexp.MustCompile(`^<script (src="/[0-9a-f]{16}/files/\w+\.js\?[0-9a-f]{16}"|type="application/json" id="\w+")>$`)
	unseen       = regexp.MustCompile(`\x1b|\x{202e}|\r`)
)

// markup returns what a page must not have: elements that load something, and attributes that are a script or
// a style.
func markup(page string) (bad []string) {
	tokens := html.NewTokenizer(strings.NewReader(page))
	for tokens.Next() != html.ErrorToken {
		token := tokens.Token()
		if slices.Contains([]string{"img", "iframe", "object", "embed", "style", "base"}, token.Data) && token.Type == html.StartTagToken {
			bad = append(bad, token.String())
		}
		for _, a := range token.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "srcdoc" || strings.HasPrefix(strings.TrimSpace(strings.ToLower(a.Val)), "javascript:") {
				bad = append(bad, token.String())
			}
		}
	}
	return append(bad, unseen.FindAllString(page, -1)...)
}

func TestPagesAreStrictAndHostileTextsAreText(t *testing.T) {
	root := t.TempDir()
	hostileRun(t, root, "hostile1")
	cache := filepath.Join(root, "caches", strings.ReplaceAll(hostile, "/", "_"))
	must(t, os.MkdirAll(cache, 0o700))
	s := serve(t, ui.Options{Root: root})
	for _, path := range []string{"", "?q=" + url.QueryEscape(hostile), "?status=" + url.QueryEscape(hostile), "?page=-3", "?page=x", "pipelines", "storage", "runs/hostile1", "runs/none", "nowhere", "runs/" + url.PathEscape(hostile), "runs/" + url.PathEscape(hostile) + "/log"} {
		_, body, header := s.get(path)
		for _, script := range inlineScript.FindAllString(body, -1) {
			if !allowed.MatchString(script) {
				t.Errorf("%s has %s", path, script)
			}
		}
		if bad := markup(body); len(bad) > 0 {
			t.Errorf("%s has %q", path, bad)
		}
		csp := header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: the policy %q has no %s", path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") {
			t.Errorf("%s: the policy is %q", path, csp)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin", "X-Frame-Options": "DENY"} {
			if got := header.Get(name); got != want {
				t.Errorf("%s: %s is %q, not %q", path, name, got, want)
			}
		}
	}
	if _, _, header := s.get("files/run.js"); !strings.HasPrefix(header.Get("Content-Type"), "text/javascript") {
		t.Errorf("the script is %s", header.Get("Content-Type"))
	}
	if body := s.page("runs/hostile1"); !strings.Contains(body, "&lt;script&gt;alert(1)&lt;/script&gt;") {
		t.Error("the page of the run does not show its name")
	}
}

func TestNoPathLeadsOutOfTheRecords(t *testing.T) {
	root := t.TempDir()
	r, events := ended("known1", event.Succeeded, 0)
	keep(t, root, r, events...)
	outside := t.TempDir()
	other, events := ended("outside", event.Succeeded, 0)
	keep(t, outside, other, events...)
	must(t, os.Symlink(record.Folder(outside, "outside"), record.Folder(root, "linked1")))
	must(t, os.WriteFile(filepath.Join(root, "secret"), []byte("s3cret"), 0o600))
	s := serve(t, ui.Options{Root: root})
	s.page("runs/known1")
	for _, name := range []string{
		"known", "known1/", "known1/record.json", ".", "..", "%2e%2e", "..%2fsecret", "..%2F..%2F..%2Fetc%2Fpasswd", "known1%2f..%2fknown1", "%2fetc%2fpasswd", "known1%00", "linked1",
		"..%5csecret", "known1%2flog.ndjson", "%252e%252e%252fsecret", ".removed-known1", "",
	} {
		for _, suffix := range []string{"", "/events", "/log?step=0&line=1"} {
			status, body, _ := s.get("runs/" + name + suffix)
			if status == http.StatusOK && !strings.Contains(body, "<h1>Runs</h1>") || strings.Contains(body, "s3cret") || strings.Contains(body, "hello") {
				t.Errorf("runs/%s%s: %d\n%s", name, suffix, status, body)
			}
		}
	}
	for _, query := range []string{"step=0&line=1", "step=-1&line=1", "step=1&line=1", "step=0&line=0", "step=0&line=2", "step=99999999999999999999&line=1", "step=../..&line=1", ""} {
		want := http.StatusNotFound
		if query == "step=0&line=1" {
			want = http.StatusOK
		}
		if status, body, _ := s.get("runs/known1/log?" + query); status != want {
			t.Errorf("log?%s: %d, not %d\n%s", query, status, want, body)
		}
	}
	for _, name := range []string{"", "..%2fserver.go", "nothing.js", "frame.html"} {
		if status, _, _ := s.get("files/" + name); status == http.StatusOK {
			t.Errorf("files/%s is served", name)
		}
	}
}

func TestListenTakesAddressesOfThisMachineOnly(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "localhost:0", "[::1]:0", "127.3.4.5:0"} {
		l, err := ui.Listen(address)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		must(t, l.Close())
	}
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.com:80", "127.0.0.1", "", "[::ffff:192.0.2.1]:0", "localhost.evil.example:0", "127.0.0.1:99999"} {
		if l, err := ui.Listen(address); err == nil {
			t.Errorf("%q is listened at", address)
			must(t, l.Close())
		}
	}
}
