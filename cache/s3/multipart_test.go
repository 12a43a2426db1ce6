package s3_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/cache"
	"github.com/stepexec/stepexec/cache/s3"
)

// uploads are the parts that a service has, by the IDs of their uploads.
type uploads struct {
	begun     int
	parts     map[string]map[int][]byte
	takePart  func(http.ResponseWriter) (taken bool) // nil: every part is taken
	completed string                                 // what completing answers with the status 200; "": it succeeds
}

func (s *service) upload(w http.ResponseWriter, r *http.Request, name string) {
	id := r.FormValue("uploadId")
	parts, known := s.uploads.parts[id]
	switch {
	case r.URL.Query().Has("uploads"):
		s.uploads.begun++
		if s.uploads.parts == nil {
			s.uploads.parts = map[string]map[int][]byte{}
		}
		id = fmt.Sprintf("%d+/=", s.uploads.begun)
		s.uploads.parts[id] = map[int][]byte{}
		fmt.Fprintf(w, "<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>", id)
	case !known:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "<Error><Code>NoSuchUpload</Code></Error>")
	case r.Method == http.MethodDelete:
		delete(s.uploads.parts, id)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		s.takePart(w, r, parts)
	case s.uploads.completed != "":
		_, _ = io.WriteString(w, s.uploads.completed)
	default:
		s.complete(w, r, name, parts)
		delete(s.uploads.parts, id)
	}
}

func (s *service) takePart(w http.ResponseWriter, r *http.Request, parts map[int][]byte) {
	if s.uploads.takePart != nil && !s.uploads.takePart(w) {
		return
	}
	content, err := io.ReadAll(r.Body)
	number, wrong := strconv.Atoi(r.FormValue("partNumber"))
	if sum := sha256.Sum256(content); err != nil || wrong != nil || hex.EncodeToString(sum[:]) != r.Header.Get("X-Amz-Content-Sha256") {
		s.t.Errorf("part %q is not what its header says: %v", r.FormValue("partNumber"), err)
	}
	parts[number] = content
	w.Header().Set("ETag", fmt.Sprintf(`"part %d"`, number))
}

func (s *service) complete(w io.Writer, r *http.Request, name string, parts map[int][]byte) {
	var list struct {
		XMLName xml.Name `xml:"CompleteMultipartUpload"`
		Part    []struct {
			PartNumber int
			ETag       string
		}
	}
	if err := xml.NewDecoder(r.Body).Decode(&list); err != nil || len(list.Part) != len(parts) || len(parts) > 10 {
		s.t.Errorf("completed with %d of %d parts: %v", len(list.Part), len(parts), err)
	}
	var object bytes.Buffer
	for i, part := range list.Part {
		if part.PartNumber != i+1 || part.ETag != fmt.Sprintf(`"part %d"`, i+1) {
			s.t.Errorf("part %d of the list is %+v", i+1, part)
		}
		object.Write(parts[part.PartNumber])
	}
	s.objects[name] = object.Bytes()
	_, _ = io.WriteString(w, "<CompleteMultipartUploadResult/>")
}

// packed returns an upload of a number of bytes.
func packed(t *testing.T, size int) (u cache.Upload, content []byte) {
	t.Helper()
	content = make([]byte, size)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(content) // never fails
	name := filepath.Join(t.TempDir(), "packed")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	sum := sha256.Sum256(content)
	return cache.Upload{
		Description: []byte("{}"), Addresses: []string{"key-0"}, Data: file, Digest: hex.EncodeToString(sum[:]), Size: int64(size),
		Watch: func(r io.Reader) io.Reader { return r }, Sent: func() {},
	}, content
}

func openWithParts(t *testing.T, address string, size int64) cache.Depot {
	t.Helper()
	depot := open(t, address)
	t.Cleanup(depot.Close)
	s3.SetParts(depot, size, 10)
	return depot
}

func TestLargeDataAreStoredInParts(t *testing.T) {
	for _, test := range []struct {
		name       string
		size       int
		part       int64
		wantUpload int
	}{
		{"one byte less than a part", 999, 1000, 0},
		{"as much as a part", 1000, 1000, 0},
		{"one byte more than a part", 1001, 1000, 1},
		{"whole parts", 9000, 1000, 1},
		{"more parts than an upload may have", 10001, 1000, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &service{t: t, objects: map[string][]byte{}}
			server := httptest.NewServer(s)
			defer server.Close()
			environment(t, server.URL+"/base/")
			depot := openWithParts(t, "s3://bucket/some/prefix", test.part)
			u, content := packed(t, test.size)
			if err := depot.Put(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(s.objects["some/prefix/data/"+u.Digest], content) {
				t.Error("other data are stored")
			}
			if string(s.objects["some/prefix/entries/key-0"]) != "{}" || s.uploads.begun != test.wantUpload || len(s.uploads.parts) != 0 {
				t.Errorf("%d uploads, of which %d are left, and the entry %q", s.uploads.begun, len(s.uploads.parts), s.objects["some/prefix/entries/key-0"])
			}
		})
	}
}

func TestNoPartsAreLeftWhenAnUploadFails(t *testing.T) {
	interrupted := errors.New("interrupted")
	for _, test := range []struct {
		name    string
		uploads func(interrupt func()) uploads
		want    string
	}{
		{"a part is refused", func(func()) uploads {
			return uploads{takePart: func(w http.ResponseWriter) bool {
				w.WriteHeader(http.StatusInsufficientStorage)
				return false
			}}
		}, "answered 507"},
		{"the connection ends", func(func()) uploads {
			return uploads{takePart: func(http.ResponseWriter) bool { panic(http.ErrAbortHandler) }}
		}, "EOF"},
		{"an interrupt", func(interrupt func()) uploads {
			return uploads{takePart: func(http.ResponseWriter) bool {
				interrupt()
				return false
			}}
		}, "interrupted"},
		{"the parts are not joined", func(func()) uploads {
			return uploads{completed: "\n  <Error><Code>InternalError</Code></Error>"}
		}, `did not join the parts of the upload ("InternalError")`},
		{"nothing says that the parts are joined", func(func()) uploads {
			return uploads{completed: "<html>"}
		}, "did not join the parts of the upload"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			s := &service{t: t, objects: map[string][]byte{}, uploads: test.uploads(func() { cancel(interrupted) })}
			server := httptest.NewServer(s)
			environment(t, server.URL+"/base/")
			u, _ := packed(t, 3500)
			err := openWithParts(t, "s3://bucket", 1000).Put(ctx, u)
			server.Close() // waits for requests, so the fields of s are final
			if err == nil || !strings.Contains(err.Error(), test.want) && !errors.Is(context.Cause(ctx), interrupted) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if s.uploads.begun != 1 || len(s.uploads.parts) != 0 || len(s.objects) != 0 {
				t.Errorf("%d uploads, of which %d are left, and %d objects", s.uploads.begun, len(s.uploads.parts), len(s.objects))
			}
		})
	}
}

func TestPartsThatAServiceKeepsAreReported(t *testing.T) {
	s := &service{t: t, objects: map[string][]byte{}, uploads: uploads{completed: "<Error/>"}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		s.ServeHTTP(w, r)
	}))
	defer server.Close()
	environment(t, server.URL+"/base/")
	u, _ := packed(t, 3500)
	err := openWithParts(t, "s3://bucket", 1000).Put(t.Context(), u)
	if err == nil || !strings.Contains(err.Error(), "did not join the parts") || !strings.Contains(err.Error(), "the service may keep its parts): the service answered 403") {
		t.Errorf("error %v", err)
	}
}
