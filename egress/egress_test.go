package egress_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/egress"
)

func TestRulesAreReadAndWritten(t *testing.T) {
	tests := []struct{ text, want string }{
		{"api.example.com:443", "api.example.com:443"},
		{"API.Example.com.", "api.example.com"},
		{"*.golang.org:443", "*.golang.org:443"},
		{"my_service", "my_service"},
		{"10.0.0.0/8:5432", "10.0.0.0/8:5432"},
		{"10.1.2.3/8", "10.0.0.0/8"},
		{"203.0.113.7", "203.0.113.7"},
		{"2001:db8::/32", "2001:db8::/32"},
		{"2001:db8::1", "2001:db8::1"},
		{"[2001:db8::1]:443", "[2001:db8::1]:443"},
		{"[2001:db8::/32]:443", "[2001:db8::/32]:443"},
		{"::ffff:10.0.0.1", "10.0.0.1"},
		{"[::ffff:10.0.0.0/104]:443", "10.0.0.0/8:443"},
	}
	for _, test := range tests {
		rule, err := egress.Parse(test.text)
		if err != nil || rule.String() != test.want {
			t.Errorf("%s: got %v, %v; want %s", test.text, rule, err, test.want)
		}
		again, err := egress.Parse(rule.String())
		if err != nil || again != rule {
			t.Errorf("%s: read again: %v, %v", rule, again, err)
		}
	}
	for _, text := range []string{"", ":443", "a:", "a:0", "a:65536", "a:b", "*", "*.com", "a..b", "-a", "a b", "a/8", "10.0.0.256", "10.0.0.0/33", "fe80::1%eth0",
		"[::1", "[::1]443", "http://a", "a.b/c", "*.*.a.b", "a*.b", strings.Repeat("a", 254), "a\n"} {
		if rule, err := egress.Parse(text); err == nil {
			t.Errorf("%q is read as %v", text, rule)
		}
	}
}

func TestListCoversWhatIsNarrower(t *testing.T) {
	tests := []struct {
		limit, rule string
		want        bool
	}{
		{"a.example.com", "a.example.com:443", true},
		{"a.example.com:443", "a.example.com", false},
		{"*.example.com", "a.b.example.com:1", true},
		{"*.example.com", "example.com", false},
		{"*.example.com", "*.b.example.com", true},
		{"*.b.example.com", "*.example.com", false},
		{"*.example.com", "*.notexample.com", false},
		{"*.example.com", "notexample.com", false},
		{"10.0.0.0/8:5432", "10.1.0.0/16:5432", true},
		{"10.0.0.0/8:5432", "10.1.0.0/16:5433", false},
		{"10.1.0.0/16", "10.0.0.0/8", false},
		{"0.0.0.0/0", "a.example.com", false},
		{"0.0.0.0/0", "::/0", false},
	}
	for _, test := range tests {
		limit, err := egress.ParseList([]string{"other.example.org", test.limit})
		if err != nil {
			t.Fatal(err)
		}
		rule, err := egress.Parse(test.rule)
		if err != nil {
			t.Fatal(err)
		}
		if got := limit.Covers(rule); got != test.want {
			t.Errorf("%s covers %s: %v", test.limit, test.rule, got)
		}
	}
}

func TestFileHasARuleALine(t *testing.T) {
	list, err := egress.ParseText([]byte("# what the build needs\n\nproxy.golang.org:443 # modules\n- \"*.debian.org:80\"\n"))
	if want := []string{"proxy.golang.org:443", "*.debian.org:80"}; err != nil || !slices.Equal(list.Strings(), want) {
		t.Errorf("got %v, %v", list, err)
	}
	if _, err := egress.ParseText([]byte("a.example.com\n?\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("error %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("api.example.com:443")
	f.Add("[2001:db8::/32]:1")
	f.Fuzz(func(t *testing.T, text string) {
		rule, err := egress.Parse(text)
		if err != nil {
			return
		}
		again, err := egress.Parse(rule.String())
		if err != nil || again != rule {
			t.Errorf("%q is read as %v and then as %v, %v", text, rule, again, err)
		}
	})
}
