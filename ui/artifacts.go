package ui

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/beneath"
	"github.com/stepexec/stepexec/logs"
	"github.com/stepexec/stepexec/record"
	"github.com/stepexec/stepexec/report"
)

// filePolicy is the policy of files that steps have made: a browser that shows one, although it is told to save
// it, runs no script of it and gives it no origin.
const filePolicy = "sandbox; default-src 'none'"

// mostFiles bounds the files of an artifact that are listed or packed. Collecting one has the same bound.
const mostFiles = 100_000

// fileRow is a file of an artifact.
type fileRow struct {
	Name, Size, Link string
}

// artifactPage is the data of the page of an artifact.
type artifactPage struct {
	Name, Step, Run, RunName string
	Files                    []fileRow
	Size                     string
	More                     int    // files that are not listed
	All                      string // link to all files in one; "": they cannot all be read
}

// artifact finds the artifact that a request names and opens its folder, and otherwise answers the request.
func (s *Server) artifact(w http.ResponseWriter, r *http.Request) (of record.Record, found record.StepArtifact, folder *os.File, ok bool) {
	of, ok = s.find(w, r)
	if !ok {
		return of, found, nil, false
	}
	name := r.PathValue("artifact")
	all, err := of.Artifacts(r.Context())
	i := slices.IndexFunc(all, func(a record.StepArtifact) bool { return a.Name == name })
	if i < 0 {
		text := "The run " + logs.Quote(of.Run) + " has no artifact " + logs.Quote(name) + "."
		if err != nil {
			text += " Its record cannot be read to its end: " + logs.QuoteLines(err.Error(), "")
		}
		s.problem(w, http.StatusNotFound, "Not found", text)
		return of, found, nil, false
	}
	if folder, err = openFolder(all[i].Folder); err != nil {
		s.problem(w, http.StatusNotFound, "Not there", "The folder of the artifact cannot be opened: "+logs.QuoteLines(err.Error(), ""))
		return of, found, nil, false
	}
	return of, all[i], folder, true
}

// top is the name of an artifact's folder, with which the names of the folders in it begin.
const top = "artifact"

// openFolder opens the folder of an artifact. Its path had no link when it was recorded. A link that is there now
// was put there since, maybe by a step whose workspace it is in, and leads anywhere.
func openFolder(folder string) (*os.File, error) {
	if !filepath.IsAbs(folder) {
		return nil, fmt.Errorf("%s: it is not an absolute path", folder)
	}
	fd, err := unix.Openat2(unix.AT_FDCWD, folder, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%s: a part of the path has become a link", folder)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: folder, Err: err}
	}
	return os.NewFile(uintptr(fd), top), nil
}

// eachFile calls each with the regular files of an artifact: the path in it, and what is known of the file.
func eachFile(ctx context.Context, folder *os.File, each func(name string, st *unix.Stat_t) error) error {
	count := 0
	return beneath.Walk(folder, beneath.Visitor{Entry: func(dir *os.File, base string) (enter bool, err error) {
		if count++; count > 2*mostFiles { // files and folders
			return false, fmt.Errorf("it has more than %d files and folders", 2*mostFiles)
		}
		if len(dir.Name())+1+len(base) >= unix.PathMax {
			return false, ctx.Err()
		}
		var st unix.Stat_t
		if err := unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return false, nil // it was just removed
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			return true, ctx.Err()
		case unix.S_IFREG:
			return false, errors.Join(ctx.Err(), each(strings.TrimPrefix(path.Join(dir.Name(), base), top+"/"), &st))
		}
		return false, ctx.Err()
	}})
}

// openFile opens a regular file of an artifact. A path that leads out of the artifact is an error, and a FIFO does
// not wait for a writer.
func openFile(folder *os.File, name string) (*os.File, fs.FileInfo, error) {
	file, err := beneath.OpenIn(folder, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", name, beneath.ErrIrregular)
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, info, nil
}

// artifactFile is a regular file of an artifact.
type artifactFile struct {
	path  string // in the artifact
	bytes int64
}

// firstFiles returns the files of an artifact that come first by path, at most mostRows of them, and the number and
// size of all. Paths can be 4 kB long and there can be 200,000, so it never holds more than twice what it returns.
func firstFiles(ctx context.Context, folder *os.File) (first []artifactFile, count int, bytes int64, err error) {
	keepFirst := func() {
		slices.SortFunc(first, func(a, b artifactFile) int { return strings.Compare(a.path, b.path) })
		first = first[:min(len(first), mostRows)]
	}
	err = eachFile(ctx, folder, func(name string, st *unix.Stat_t) error {
		count, bytes = count+1, bytes+st.Size
		if first = append(first, artifactFile{name, st.Size}); len(first) == 2*mostRows {
			keepFirst()
		}
		return nil
	})
	keepFirst()
	return first, count, bytes, err
}

// serveArtifact lists the files of an artifact.
func (s *Server) serveArtifact(w http.ResponseWriter, r *http.Request) {
	of, found, folder, ok := s.artifact(w, r)
	if !ok {
		return
	}
	defer folder.Close()
	base := s.artifactLink(of.Run, found.Name)
	page := artifactPage{Name: logs.Quote(found.Name), Step: logs.Quote(found.Step), Run: of.Run, RunName: logs.Quote(of.Name), All: base + "/all"}
	f := frame{Title: "Artifact " + page.Name, Page: "artifact", Script: "list.js"}
	files, count, bytes, err := firstFiles(r.Context(), folder)
	if err != nil {
		f.Error, page.All = "Not all files can be listed: "+logs.QuoteLines(err.Error(), ""), ""
	}
	for _, file := range files {
		page.Files = append(page.Files, fileRow{Name: logs.Quote(file.path), Size: size(file.bytes), Link: base + "/file?" + url.Values{"path": {file.path}}.Encode()})
	}
	page.More, page.Size = count-len(files), size(bytes)
	s.write(w, http.StatusOK, f, page)
}

// artifactLink is the path of the page of an artifact.
func (s *Server) artifactLink(run, name string) string {
	return s.base + "runs/" + url.PathEscape(run) + "/artifacts/" + url.PathEscape(name)
}

// linkArtifacts adds to a page where the artifacts of its runs are.
func (s *Server) linkArtifacts(page *report.Page) {
	for i := range page.Runs {
		for j := range page.Runs[i].Artifacts {
			a := &page.Runs[i].Artifacts[j]
			a.Link = s.artifactLink(page.Runs[i].ID, a.Name)
		}
	}
}

// serveArtifactFile serves a file of an artifact, to be saved.
func (s *Server) serveArtifactFile(w http.ResponseWriter, r *http.Request) {
	_, _, folder, ok := s.artifact(w, r)
	if !ok {
		return
	}
	defer folder.Close()
	name := r.FormValue("path")
	file, info, err := openFile(folder, name)
	if err != nil {
		s.problem(w, http.StatusNotFound, "Not found", "The artifact has no file "+logs.Quote(name)+".")
		return
	}
	defer file.Close()
	toSave(w.Header(), path.Base(name))
	http.ServeContent(prolonged{w}, r, "", info.ModTime(), file)
}

// serveArtifactAll serves all files of an artifact as a tar.
func (s *Server) serveArtifactAll(w http.ResponseWriter, r *http.Request) {
	_, found, folder, ok := s.artifact(w, r)
	if !ok {
		return
	}
	defer folder.Close()
	toSave(w.Header(), found.Name+".tar")
	if r.Method == http.MethodHead {
		return
	}
	if err := writeTar(r.Context(), prolonged{w}, folder, found.Name); err != nil {
		panic(http.ErrAbortHandler) // the browser must not take it for the whole
	}
}

// writeTar writes the files of an artifact, below its name.
func writeTar(ctx context.Context, w io.Writer, folder *os.File, name string) error {
	archive := tar.NewWriter(w)
	err := eachFile(ctx, folder, func(in string, _ *unix.Stat_t) error {
		file, info, err := openFile(folder, in)
		if err != nil {
			return err
		}
		defer file.Close()
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: path.Join(name, in), Size: info.Size(), Mode: int64(info.Mode().Perm()), ModTime: info.ModTime().Truncate(time.Second),
		}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err = io.CopyN(archive, file, info.Size())
		return err
	})
	if err != nil {
		return err
	}
	return archive.Close()
}

// toSave makes of a response a file that the browser saves and never shows.
func toSave(h http.Header, name string) {
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Security-Policy", filePolicy)
	disposition := mime.FormatMediaType("attachment", map[string]string{"filename": strings.ToValidUTF8(name, "_")})
	if disposition == "" {
		disposition = "attachment"
	}
	h.Set("Content-Disposition", disposition)
}

// prolonged is a response that may take as long as somebody reads it.
type prolonged struct{ http.ResponseWriter }

func (p prolonged) Write(data []byte) (int, error) {
	prolong(p.ResponseWriter)
	return p.ResponseWriter.Write(data)
}
