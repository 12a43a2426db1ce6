package engine

import (
	"slices"
	"testing"
)

func TestPortsThatVariablesNameAsTheStepsOwn(t *testing.T) {
	for _, test := range []struct {
		environment []string
		own         bool
	}{
		{[]string{"PORT=8080"}, true},
		{[]string{"PGPORT=8080"}, true},
		{[]string{"PGPORT=8080", "PGHOST=db"}, false},
		{[]string{"HTTP_PORT=8080"}, true},
		{[]string{"KC_HTTPS_PORT=8080"}, true},
		{[]string{"MYSQL_TCP_PORT=8080"}, true},
		{[]string{"SERVER_PORT=8080", "SERVER_ADDRESS=0.0.0.0"}, true},
		{[]string{"HTTP_PORT=8080", "HTTP_HOST=::"}, true},
		{[]string{"HTTP_PORT=8080", "HTTP_HOST=api"}, false},
		{[]string{"HTTP_PORT=8080", "HTTP_HOST=127.0.0.1"}, false}, // it may call somebody there
		{[]string{"DB_PORT=8080"}, false},
		{[]string{"DB_SERVER_PORT=8080"}, false},
		{[]string{"API_SERVICE_PORT=8080"}, false}, // of Kubernetes
		{[]string{"HTTP_PORTS=8080"}, false},
	} {
		got := ownPorts(test.environment)
		if want := []string{"8080"}; test.own && !slices.Equal(got, want) || !test.own && len(got) > 0 {
			t.Errorf("%q: got %q, want it: %t", test.environment, got, test.own)
		}
	}
}
