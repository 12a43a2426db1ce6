package pipeline_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/pipeline"
)

func TestParseMount(t *testing.T) {
	bind := func(source, destination string, options ...string) pipeline.Mount {
		return pipeline.Mount{Type: "bind", Source: source, Destination: destination, Options: options}
	}
	tmpfs := func(destination string, options ...string) pipeline.Mount {
		return pipeline.Mount{Type: "tmpfs", Source: "tmpfs", Destination: destination, Options: options}
	}
	for _, test := range []struct {
		text string
		want pipeline.Mount
	}{
		{"type=bind,src=/etc,dst=/host-etc,options=rbind:rw", bind("/etc", "/host-etc", "rbind", "rw")},
		{"type=bind,source=/etc,destination=/host-etc", bind("/etc", "/host-etc", "rbind", "rw")},
		{"type=bind,source=/etc,target=/host-etc,readonly", bind("/etc", "/host-etc", "rbind", "ro")},
		{"src=/etc,dst=/e,readonly=false", bind("/etc", "/e", "rbind", "rw")},
		{"src=/etc,dst=/e/../f//", bind("/etc", "/f", "rbind", "rw")},
		{"src=/etc,dst=/e,options=bind:ro:nosuid:rslave", bind("/etc", "/e", "bind", "ro", "nosuid", "rslave")},
		{"src=/etc,dst=/e,options=ro", bind("/etc", "/e", "rbind", "ro")},
		{`"src=/with,comma",dst=/e`, bind("/with,comma", "/e", "rbind", "rw")},
		{"src=a=b,dst=/c=d", bind("a=b", "/c=d", "rbind", "rw")},
		{"src=/a,dst=/process", bind("/a", "/process", "rbind", "rw")},
		{"src=/a,dst=/run/secretsauce", bind("/a", "/run/secretsauce", "rbind", "rw")},
		{"type=tmpfs,dst=/tmp", tmpfs("/tmp")},
		{"type=tmpfs,src=tmpfs,dst=/tmp,options=nosuid:size=50%:mode=01777:uid=5:gid=6:nr_inodes=1k", tmpfs("/tmp", "nosuid", "size=50%", "mode=01777", "uid=5", "gid=6", "nr_inodes=1k")},
	} {
		t.Run(test.text, func(t *testing.T) {
			got, err := pipeline.ParseMount(test.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMountErrorsHaveNoPositionOfTheirOwn(t *testing.T) {
	_, err := pipeline.ParseMount("src=/a,dst=b")
	if want := `the path "b" in the container is not absolute (begin it with /)`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
