package pipeline_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/pipeline"
)

// Whatever needs a service, or calls a detached step, on another network is refused. Where nothing
// but words tells, only those in the place of a host count.
func TestNeedsOnAnotherNetworkAreRefused(t *testing.T) {
	const private = "services:\n  api: {image: x, network: private, aliases: [backend]}\nsteps:\n"
	const detached = "steps:\n  - {name: api, image: x, network: private, detach: true, commands: [serve]}\n"
	for _, test := range []struct {
		name, file, want string // want: "" is that it is valid
	}{
		{"all services, from the host's network", private + "  - {name: a, image: x, network: host, commands: [make]}", "network host and needs service api, which is on network private"},
		{"no services", private + "  - {name: a, image: x, network: host, depends_on: [b], commands: [make]}\n  - {name: b, image: x, network: private, depends_on: [api], commands: [make]}", "step is on network host and needs service api"},
		{"without any network, not called", private + "  - {name: a, image: x, network: none, commands: [cd api, echo api is fine]}", ""},
		{"without any network, an address", private + "  - {name: a, image: x, network: none, commands: [\"wget http://api/\"]}", "network none and needs service api"},
		{"without any network, an alias and a port", private + "  - {name: a, image: x, network: none, environment: {DB: \"backend:5432\"}, commands: [make]}", "network none and needs service api"},
		{"without any network, behind -h", private + "  - {name: a, image: x, network: none, commands: [\"psql -h api\"]}", "network none and needs service api"},
		{"without any network, a variable", private + "  - {name: a, image: x, network: none, environment: {HOST: api}, commands: [make]}", "network none and needs service api"},
		{"without any network, behind -h and no space", private + "  - {name: a, image: x, network: none, commands: [\"mysql -hBackend -u x\"]}", "network none and needs service api"},
		{"without any network, behind --host", private + "  - {name: a, image: x, network: none, commands: [\"psql --host=api\"]}", "network none and needs service api"},
		{"without any network, behind --host and a space", private + "  - {name: a, image: x, network: none, commands: [\"psql --host api\"]}", "network none and needs service api"},
		{"without any network, behind another option", private + "  - {name: a, image: x, network: none, commands: [\"make -j api --with-host api x-h api ./api:1 api.d:1 api:443-x\"]}", ""},
		{"two before a port", private + "  - {name: a, image: x, network: none, commands: [\"wait-for x:80 tcp:api:8080\"]}", "network none and needs service api"},
		{"a detached step, called", detached + "  - {name: a, image: x, network: host, commands: [\"wget http://api/\"]}", "needs detached step api, which is on network private"},
		{"a detached step, not called", detached + "  - {name: a, image: x, network: host, commands: [cat ./api/log, wget http://api.example.com/]}", ""},
		{"a detached step with a port of the host", "steps:\n  - {name: api, image: x, network: private, detach: true, ports: [8080], commands: [serve]}\n  - {name: a, image: x, network: host, commands: [\"wget http://api/\"]}", ""},
		{"a service that calls another one", "services:\n  db: {image: x, network: private}\n  web: {image: x, network: host, environment: {DB: \"postgres://u@db/x\"}}\nsteps:\n  - {name: a, image: x, network: host, depends_on: [web], commands: [make]}", "service is on network host and needs service db"},
		{"a variable for a driver", private + "  - {name: a, image: x, network: none, environment: {DB_CONNECTION: api, DB_URL: \"api://localhost/x\"}, commands: [make]}", ""},
		{"tags of images", private + "  - {name: a, image: x, network: none, environment: {API_IMAGE: \"api:16\"}, commands: [\"docker build -t api:1.0 .\", \"docker tag api:1 api:7-alpine\"]}", ""},
		{"targets of bazel", detached + "  - {name: a, image: x, network: none, commands: [\"bazel build //api:all //api/...\"]}", ""},
		{"a scope of npm and a folder", detached + "  - {name: a, image: x, network: host, commands: [\"npm install @api/test\", \"du -h api\", \"grep -h api README\"]}", ""},
		{"an argument and a mode", detached + "  - {name: a, image: x, network: host, environment: {NODE_ENV: api}, entrypoint: [make], args: [api]}", ""},
		{"before a port", detached + "  - {name: a, image: x, network: host, commands: [\"wait-for api:80\"]}", "needs detached step api"},
		{"a variable for a host", detached + "  - {name: a, image: x, network: host, environment: {PGHOST: api}, commands: [make]}", "needs detached step api"},
		{"a client with options", detached + "  - {name: a, image: x, network: host, commands: [\"psql -U me -h api\"]}", "needs detached step api"},
		{"the same network", private + "  - {name: a, image: x, network: private, commands: [\"wget http://api/\"]}", ""},
	} {
		p, err := pipeline.Parse("p.yml", []byte(test.file))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		for way, err := range map[string]error{"validate": p.CheckNetworks(), "plan": planErr(p)} {
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "p.yml:")) {
				t.Errorf("%s: %s: %v, want %q", test.name, way, err, test.want)
			}
		}
	}
}

func planErr(p *pipeline.Pipeline) error {
	_, err := p.Plan(pipeline.Inputs{Network: "host"})
	return err
}

// A text is looked through once, not once for each service and step: a file of 1 MB took up to a minute.
func TestNetworksOfManyStepsAreCheckedAtOnce(t *testing.T) {
	const each = 200
	var file strings.Builder
	file.WriteString("services:\n")
	for i := range each {
		fmt.Fprintf(&file, "  - {name: s%d, image: x, network: private}\n", i)
	}
	file.WriteString("steps:\n")
	for i := range each {
		fmt.Fprintf(&file, "  - {name: t%d, image: x, network: none, commands: [make all]}\n", i)
	}
	p, err := pipeline.Parse("p.yml", []byte(file.String()))
	if err != nil {
		t.Fatal(err)
	}
	allocations := testing.AllocsPerRun(1, func() {
		if err := p.CheckNetworks(); err != nil {
			t.Error(err)
		}
	})
	if allocations > 5*each*each {
		t.Errorf("%.0f allocations for %d steps and as many services", allocations, each)
	}
}
