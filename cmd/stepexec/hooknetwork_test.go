package main

import (
	"fmt"
	"strings"
	"testing"
)

// webService is a service that serves its name at port 18393. entryPointArgs are as the runner splits them.
func webService(image, name string) map[string]any {
	script := fmt.Sprintf("mkdir -p /www && echo from %s > /www/index.html && exec httpd -f -p 18393 -h /www", name)
	return map[string]any{
		"contextName": name, "image": image, "entryPoint": "sh", "entryPointArgs": []string{"-c", `"` + script + `"`},
		"createOptions": "--health-cmd 'wget -qO- http://127.0.0.1:18393/'",
	}
}

// Services of a job may listen on one port: by default each has an address and a localhost of its own. On the host's
// network the second one cannot be, and the job does not begin.
func TestHookKeepsServicesOnOnePortApart(t *testing.T) {
	r := newHookRunner(t, hookImages(t))
	services := []any{webService(r.image, "hub"), webService(r.image, "node")}
	change := func(args, _ map[string]any) { args["services"] = services }

	r.flags = ""
	r.prepare(t, change)
	for script, want := range map[string]string{
		"wget -qO- http://hub:18393/":                                   "from hub\n",
		"wget -qO- http://node:18393/":                                  "from node\n",
		"wget -T 3 -qO- http://localhost:18393/ || echo nothing":        "nothing\n",
		"grep -c '^127.*\\(hub\\|node\\)' /etc/hosts || echo elsewhere": "elsewhere\n",
	} {
		if got := r.script(t, script); got.code != 0 || !strings.Contains(got.out, want) {
			t.Errorf("%s: code %d, %q, want %q", script, got.code, got.out, want)
		}
	}
	if got := r.call(t, "cleanup_job", nil); got.code != 0 {
		t.Fatalf("clean-up: %s", got.out)
	}

	r.flags, r.state = "--network host", nil
	args := r.example(t, "prepare_job")
	change(args, nil)
	if container, ok := args["container"].(map[string]any); ok {
		delete(container, "portMappings")
	}
	got := r.call(t, "prepare_job", args)
	if got.code == 0 {
		t.Errorf("two services on one port of the host: code 0, %s", got.out)
	}
}
