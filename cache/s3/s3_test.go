package s3_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stepexec/stepexec/cache"
	"github.com/stepexec/stepexec/cache/depottest"
	"github.com/stepexec/stepexec/cache/s3"
)

// service is a small one of the protocol: objects in memory, listed two at a time. It looks whether
// requests are signed, and not whether rightly.
type service struct {
	t       *testing.T
	mu      sync.Mutex
	objects map[string][]byte
	uploads uploads
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=key/") || r.Header.Get("X-Amz-Security-Token") != "session" {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "<Error><Code>AccessDenied</Code></Error>")
		return
	}
	name, ours := strings.CutPrefix(r.URL.Path, "/base/bucket/")
	if !ours {
		s.t.Errorf("the request is for %s", r.URL)
	}
	switch object, there := s.objects[name]; {
	case r.URL.Query().Has("uploads") || r.URL.Query().Has("uploadId"):
		s.upload(w, r, name)
	case r.Method == http.MethodPut:
		body, err := io.ReadAll(r.Body)
		if sum := sha256.Sum256(body); err != nil || hex.EncodeToString(sum[:]) != r.Header.Get("X-Amz-Content-Sha256") || int64(len(body)) != r.ContentLength {
			s.t.Errorf("the body of %s is not what its header says: %v", name, err)
		}
		s.objects[name] = body
	case r.Method == http.MethodDelete:
		delete(s.objects, name)
		w.WriteHeader(http.StatusNoContent)
	case name == "":
		s.list(w, r)
	case !there:
		w.WriteHeader(http.StatusNotFound)
	default:
		_, _ = w.Write(object)
	}
}

func (s *service) list(w io.Writer, r *http.Request) {
	var names []string
	for name := range s.objects {
		if strings.HasPrefix(name, r.FormValue("prefix")) && name > r.FormValue("continuation-token") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	type object struct{ Key string }
	var page struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		Contents              []object
		NextContinuationToken string `xml:",omitempty"`
	}
	for _, name := range names[:min(2, len(names))] {
		page.Contents = append(page.Contents, object{name})
		if len(names) > 2 {
			page.NextContinuationToken = name
		}
	}
	_ = xml.NewEncoder(w).Encode(page)
}

// environment sets the variables of AWS, of which the others are not set.
func environment(t *testing.T, endpoint string) {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_S3": "", "AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "", "AWS_DEFAULT_REGION": "eu-central-1",
		"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "session",
	} {
		t.Setenv(name, value)
	}
}

func open(t *testing.T, address string) cache.Depot {
	t.Helper()
	depot, err := s3.Open(address)
	if err != nil {
		t.Fatal(err)
	}
	return depot
}

func TestABucketIsADepot(t *testing.T) {
	for _, address := range []string{"s3://bucket", "s3://bucket/some/prefix"} {
		t.Run(address, func(t *testing.T) {
			server := httptest.NewServer(&service{t: t, objects: map[string][]byte{"entries-of-others": nil}})
			defer server.Close()
			environment(t, server.URL+"/base/")
			depottest.Run(t, func() cache.Depot { return open(t, address) })
		})
	}
}

func TestAnswersOfAService(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		body   string
		want   string
	}{
		{"a refusal", 403, "<Error><Code>AccessDenied</Code><Message>secret</Message></Error>", `answered 403 Forbidden ("AccessDenied")`},
		{"a missing bucket", 404, "<Error><Code>NoSuchBucket</Code></Error>", `answered 404 Not Found ("NoSuchBucket")`},
		{"another region", 301, "", "is AWS_REGION that of the bucket?"},
		{"an error without XML", 500, "<html>", "answered 500 Internal Server Error"},
		{"a code that is a riddle", 500, "<Error><Code>\x1b[31m" + strings.Repeat("x", 1000) + "</Code></Error>", "answered 500 Internal Server Error"},
		{"too much", 200, strings.Repeat("x", 9<<20), "larger than 8388608 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "http://192.0.2.1/")
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			}))
			defer server.Close()
			environment(t, server.URL)
			depot := open(t, "s3://bucket")
			defer depot.Close()
			_, err := depot.Entry(t.Context(), "key-0")
			if err == nil || !strings.Contains(err.Error(), test.want) || len(err.Error()) > 200 || strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestAddressesThatAreWrong(t *testing.T) {
	for _, test := range []struct{ address, endpoint, want string }{
		{"s3://", "", "is not s3://BUCKET/PREFIX"},
		{"s3://Bucket", "", "is not s3://BUCKET/PREFIX"},
		{"s3://bucket/../x", "", "is not s3://BUCKET/PREFIX"},
		{"https://bucket", "", "is not s3://BUCKET/PREFIX"},
		{"s3://bucket", "localhost:9000", "AWS_ENDPOINT_URL"},
		{"s3://bucket", "https://user:password@localhost", "AWS_ENDPOINT_URL"},
	} {
		environment(t, test.endpoint)
		if _, err := s3.Open(test.address); err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "password") {
			t.Errorf("%s at %q: %v", test.address, test.endpoint, err)
		}
	}
}
