package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/sys/mountinfo"
	"github.com/opencontainers/go-digest"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/fixtures"
	"github.com/stepexec/stepexec/fixtures/registry"
)

func TestMain(m *testing.M) {
	// A program built with the race detector sleeps for a second at its end, and
	// stepexec without root is two of them: that was most of the time of these tests.
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	testscript.Main(m, map[string]func(){"stepexec": main})
}

// TestScripts runs what users type. Every script has the busybox image as
// $BUSYBOX (an OCI layout), a registry as $REGISTRY, one that wants
// credentials as $LOCKED, and a state root of its own as $ROOT.
func TestScripts(t *testing.T) {
	busybox := filepath.Join(t.TempDir(), "busybox")
	if err := fixtures.Busybox(busybox); err != nil {
		t.Fatal(err)
	}
	img, err := fixtures.FromLayout(busybox, "latest")
	if err != nil {
		t.Fatal(err)
	}
	pipelines, err := filepath.Abs("../../fixtures/pipelines")
	if err != nil {
		t.Fatal(err)
	}
	open := registry.Start(t, registry.Options{})
	open.Push(t, "busybox:latest", img)
	locked := registry.Start(t, registry.Options{Users: map[string]string{"ci": "s3cret-password"}})
	locked.Push(t, "private/busybox:1", img)
	down := registry.Start(t, registry.Options{})
	down.Stop()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("BUSYBOX", busybox)
			env.Setenv("FIXTURES", pipelines)
			env.Setenv("REGISTRY", open.Host)
			env.Setenv("LOCKED", locked.Host)
			env.Setenv("DOWN", down.Host)
			env.Setenv("ROOT", filepath.Join(env.WorkDir, "root"))
			env.Setenv("DOCKER_CONFIG", filepath.Join(env.WorkDir, "docker"))
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Setenv("STEPEXEC_SETTINGS", "/dev/null") // and not this machine's
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name != "root" {
				return false, fmt.Errorf("unknown condition %s", name)
			}
			return os.Geteuid() == 0, nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"image": imageCommand, "keypair": keypairCommand, "sign": signCommand, "spoil": spoilCommand, "push": pushCommand,
			"asnobody": asNobodyCommand, "debian": debianCommand, "debianservices": debianServicesCommand, "fixture": fixtureCommand, "tmpfs": tmpfsCommand, "waitfor": waitforCommand, "waitgone": waitgoneCommand, "waitended": waitendedCommand, "clean": cleanCommand,
			"collector": collectorCommand, "interact": interactCommand, "validevents": validEventsCommand,
		},
	})
}

func check(ts *testscript.TestScript, err error) {
	if err != nil {
		ts.Fatalf("%v", err)
	}
}

// asNobodyCommand is `asnobody ARG...`: stepexec as a user without privileges,
// who may not enter the test's own directories; its home has the .config of the
// working directory.
func asNobodyCommand(ts *testscript.TestScript, neg bool, args []string) {
	program, err := exec.LookPath("stepexec")
	check(ts, err)
	dir, err := os.MkdirTemp("/tmp", "stepexec-nobody-")
	check(ts, err)
	defer os.RemoveAll(dir)
	check(ts, os.Chmod(dir, 0o755))
	script := "cp " + program + " " + dir + "/stepexec && cp *.yml " + dir + " && cd " + dir +
		` && if test -e "$OLDPWD/.config"; then cp -r "$OLDPWD/.config" .; fi && export HOME="$PWD"` +
		` && chown 65534 . && exec setpriv --reuid 65534 --regid 65534 --clear-groups ./stepexec "$@"`
	err = ts.Exec("sh", append([]string{"-c", script, "sh"}, args...)...)
	if (err != nil) != neg {
		ts.Fatalf("stepexec as nobody: %v", err)
	}
}

// imageCommand is `image KIND PATH [NAME]`: it makes a variant of the busybox image.
func imageCommand(ts *testscript.TestScript, _ bool, args []string) {
	image, err := fixtures.BusyboxImage()
	check(ts, err)
	kind, path := args[0], ts.MkAbs(args[1])
	switch kind {
	case "zstd":
		image.Compression = compression.ZStd
	case "plain":
		image.Compression = compression.None
	case "docker":
		image.Docker = true
	case "other-platform":
		image.Platform = v1.Platform{OS: "linux", Architecture: "s390x"}
	case "builders":
		image, err = fixtures.BuildersImage()
		check(ts, err)
	case "configured":
		image.Config.User = "builder"
		image.Config.WorkingDir = "/home/builder"
		image.Config.Env = append(image.Config.Env, "FROM_IMAGE=yes")
		image.Config.Entrypoint = []string{"/bin/sh", "-c"}
		image.Config.Cmd = []string{"id -un; pwd; echo $FROM_IMAGE"}
	case "healthy": // with a healthcheck, which go-containerregistry's configuration has a field for
		image.Config.Cmd = []string{"sh", "-c", "sleep 0.3; echo warm; touch /tmp/warm; exec sleep 1000"}
		image.Config.Healthcheck = &v1.HealthConfig{Test: []string{"CMD-SHELL", "test -e /tmp/warm"}, Interval: time.Hour}
	case "declares": // volumes, some of which nobody may mount anything at
		image.Config.Volumes = map[string]struct{}{"/data": {}, "/missing/dir": {}, "/link": {}, "/sys/fs/cgroup": {}, "/": {}, "/run/secrets": {}}
		dir, file := fixtures.Dir("data", 0o750), fixtures.File("data/file", 0o600, "content\n")
		dir.Uid, dir.Gid, file.Uid = 1000, 1000, 1000
		image.Layers = append(image.Layers, fixtures.Tar(dir, file, fixtures.Dir("target", 0o755), fixtures.File("target/file", 0o644, "of the target\n"),
			fixtures.Symlink("link", "/target"), fixtures.File("etc/issue", 0o644, "an image\n")))
	case "unhealthy":
		image.Config.Cmd = []string{"sleep", "1000"}
		image.Config.Healthcheck = &v1.HealthConfig{Test: []string{"CMD", "cat", "/no/such/file"}}
	case "empty", "empty-archive":
		image.Layers = nil
		if kind == "empty-archive" {
			check(ts, image.WriteDockerArchive(path, "empty:latest"))
			return
		}
	case "filled", "filled-archive": // with 8 MB that no other image has
		fill := fixtures.File("fill", 0o644, strings.Repeat(args[1]+"\n", 8e6/(len(args[1])+1)))
		image.Layers = append(image.Layers, fixtures.Tar(fill))
		if kind == "filled-archive" {
			check(ts, image.WriteDockerArchive(path, "filled:latest"))
			return
		}
	case "devices": // nodes in two layers
		for _, names := range [][]string{{"dev/one", "dev/two"}, {"dev/three", "opt/four"}} {
			var nodes []fixtures.Entry
			for _, name := range names {
				node := fixtures.File(name, 0o600, "")
				node.Typeflag, node.Devmajor, node.Devminor = tar.TypeChar, 1, 3
				nodes = append(nodes, node)
			}
			image.Layers = append(image.Layers, fixtures.Tar(nodes...))
		}
	case "lossy", "lossy-archive": // with five attributes that are not kept
		var files []fixtures.Entry
		for i := range 5 {
			file := fixtures.File(fmt.Sprint("lossy", i), 0o644, "")
			file.PAXRecords = map[string]string{"SCHILY.xattr.trusted.overlay.redirect": "/etc"}
			files = append(files, file)
		}
		image.Layers = append(image.Layers, fixtures.Tar(files...))
		if kind == "lossy-archive" {
			check(ts, image.WriteDockerArchive(path, "lossy:latest"))
			return
		}
	case "oci-archive":
		name := "latest"
		if len(args) > 2 {
			name = args[2]
		}
		check(ts, image.WriteOCIArchive(path, name))
		return
	case "docker-archive":
		image.Compression = compression.None
		check(ts, image.WriteDockerArchive(path, "busybox:latest"))
		return
	default:
		ts.Fatalf("image: unknown kind %s", kind)
	}
	check(ts, image.WriteLayout(path, "latest"))
}

// debianCommand is `debian LAYOUT`: the Debian image, made once for all tests.
func debianCommand(ts *testscript.TestScript, _ bool, args []string) {
	layout, err := fixtures.Debian(context.Background(), "")
	check(ts, err)
	link(ts, layout, args[0])
}

// debianServicesCommand is `debianservices DIR`: a root directory with
// PostgreSQL and Redis, made once, too.
func debianServicesCommand(ts *testscript.TestScript, _ bool, args []string) {
	root, err := fixtures.DebianServices(context.Background(), "")
	check(ts, err)
	link(ts, root, args[0])
}

func link(ts *testscript.TestScript, dir, name string) {
	path := ts.MkAbs(name)
	check(ts, os.MkdirAll(filepath.Dir(path), 0o755))
	check(ts, os.Symlink(dir, path))
}

// fixtureCommand is `fixture NAME DIR`: a copy of a pipeline of the fixtures.
func fixtureCommand(ts *testscript.TestScript, _ bool, args []string) {
	from := filepath.Join(ts.Getenv("FIXTURES"), args[0])
	out, err := exec.Command("cp", "-r", from, ts.MkAbs(args[1])).CombinedOutput()
	if err != nil {
		ts.Fatalf("copy %s: %v: %s", from, err, out)
	}
}

// pushCommand is `push LAYOUT REF`.
func pushCommand(ts *testscript.TestScript, _ bool, args []string) {
	img, err := fixtures.FromLayout(ts.MkAbs(args[0]), "latest")
	check(ts, err)
	check(ts, fixtures.Push(context.Background(), args[1], img))
}

// spoilCommand is `spoil DEFECT LAYOUT`: it copies the busybox image to LAYOUT
// and damages its last layer.
func spoilCommand(ts *testscript.TestScript, _ bool, args []string) {
	defect, layout := args[0], ts.MkAbs(args[1])
	check(ts, os.CopyFS(layout, os.DirFS(ts.Getenv("BUSYBOX"))))
	blob := func(d string) string {
		return filepath.Join(layout, "blobs", "sha256", strings.TrimPrefix(d, "sha256:"))
	}
	read := func(path string, into any) {
		data, err := os.ReadFile(path)
		check(ts, err)
		check(ts, json.Unmarshal(data, into))
	}
	var index, manifest, config map[string]any
	read(filepath.Join(layout, "index.json"), &index)
	root := index["manifests"].([]any)[0].(map[string]any)
	read(blob(root["digest"].(string)), &manifest)
	layers := manifest["layers"].([]any)
	layer := blob(layers[len(layers)-1].(map[string]any)["digest"].(string))
	data, err := os.ReadFile(layer)
	check(ts, err)
	switch defect {
	case "compressed": // other bytes of the same length
		data = bytes.Clone(data)
		data[len(data)/2] ^= 1
		check(ts, os.WriteFile(layer, data, 0o644))
	case "truncated":
		check(ts, os.WriteFile(layer, data[:len(data)-10], 0o644))
	case "diffid": // the configuration promises another tar than the layer holds
		link := manifest["config"].(map[string]any)
		read(blob(link["digest"].(string)), &config)
		ids := config["rootfs"].(map[string]any)["diff_ids"].([]any)
		ids[len(ids)-1] = "sha256:" + strings.Repeat("ab", 32)
		rewrite(ts, blob, link, config)
		rewrite(ts, blob, root, manifest)
		data, err := json.Marshal(index)
		check(ts, err)
		check(ts, os.WriteFile(filepath.Join(layout, "index.json"), data, 0o644))
	default:
		ts.Fatalf("spoil: unknown defect %s", defect)
	}
}

// rewrite stores a changed document as a blob and points its descriptor to it.
func rewrite(ts *testscript.TestScript, blob func(string) string, descriptor map[string]any, document any) {
	data, err := json.Marshal(document)
	check(ts, err)
	d := digest.FromBytes(data)
	descriptor["digest"], descriptor["size"] = d.String(), len(data)
	check(ts, os.WriteFile(blob(d.String()), data, 0o644))
}

// tmpfsCommand is `tmpfs DIR SIZE`: a small file system to fill.
func tmpfsCommand(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	check(ts, os.MkdirAll(dir, 0o700))
	check(ts, unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+args[1]))
	ts.Defer(func() { check(ts, unix.Unmount(dir, unix.MNT_DETACH)) })
}

// waitforCommand is `waitfor FILE`: it waits until a step has made the file.
func waitforCommand(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		found, err := filepath.Glob(path)
		check(ts, err)
		if len(found) > 0 {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s did not appear in a minute", args[0])
		}
	}
}

// waitgoneCommand is `waitgone PATTERN`: it waits until no file matches.
func waitgoneCommand(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		left, err := filepath.Glob(ts.MkAbs(args[0]))
		check(ts, err)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("left behind: after a minute there is still %v", left)
		}
	}
}

// waitendedCommand is `waitended PATTERN`: it waits until no process of the user has a command line
// that pgrep finds by the pattern: the tests run as root and without at the same time. What the kernel kills with a namespace ends a moment later.
func waitendedCommand(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		found, err := exec.Command("pgrep", "-U", strconv.Itoa(os.Getuid()), "-f", "-a", args[0]).Output()
		if err != nil { // none
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("left behind: after a minute there still runs %s", found)
		}
	}
}

// cleanCommand is `clean [EVENTS]`: nothing may be left of the script's runs:
// no mount, no directory, no FIFO, and none of the cgroups of the run whose
// JSON events are in EVENTS.
func cleanCommand(ts *testscript.TestScript, _ bool, args []string) {
	root := ts.Getenv("ROOT")
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return !strings.HasPrefix(m.Mountpoint, filepath.Join(root, "runs")), false
	})
	check(ts, err)
	for _, m := range mounts {
		ts.Fatalf("left behind: mount at %s", m.Mountpoint)
	}
	runs, err := os.ReadDir(filepath.Join(root, "runs"))
	check(ts, err)
	for _, run := range runs {
		ts.Fatalf("left behind: runs/%s", run.Name())
	}
	if len(args) == 0 {
		return
	}
	line, _, _ := strings.Cut(ts.ReadFile(args[0]), "\n")
	var event struct{ Run string }
	check(ts, json.Unmarshal([]byte(line), &event))
	if event.Run == "" {
		ts.Fatalf("no run in the first event %s", line)
	}
	cgroups, err := filepath.Glob(fmt.Sprintf("/sys/fs/cgroup/*/stepexec-%s-*", event.Run))
	check(ts, err)
	if len(cgroups) > 0 {
		ts.Fatalf("left behind: cgroups %v", cgroups)
	}
}
