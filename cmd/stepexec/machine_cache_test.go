package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/stepexec/stepexec/cache"
)

func TestWhichCachesAreRemoved(t *testing.T) {
	now := time.Now()
	all := []cache.Entry{ // the last used first
		{Name: "a", Scope: "s", Packed: 600, Used: now},
		{Name: "b", Scope: "s", Packed: 600, Used: now.Add(-time.Minute)},
		{Name: "c", Scope: "s", Packed: 600, Used: now.Add(-time.Hour)},
		{Name: "d", Scope: "s", Packed: 10, Used: now.Add(-48 * time.Hour)},
	}
	for name, test := range map[string]struct {
		choice cacheChoice
		args   []string
		want   string // "": an error
	}{
		"names":                 {cacheChoice{}, []string{"a", "c", "a"}, "[a c]"},
		"all":                   {cacheChoice{all: true}, nil, "[a b c d]"},
		"what is old":           {cacheChoice{unused: 30 * time.Minute}, nil, "[c d]"},
		"what is too much":      {cacheChoice{keep: "1kB"}, nil, "[d c b]"},
		"enough room":           {cacheChoice{keep: "1MB"}, nil, "[]"},
		"old, and then enough":  {cacheChoice{unused: 30 * time.Minute, keep: "2kB"}, nil, "[c d]"},
		"old, and too much":     {cacheChoice{unused: 24 * time.Hour, keep: "1kB"}, nil, "[d c b]"},
		"nothing said":          {cacheChoice{}, nil, ""},
		"a name and all":        {cacheChoice{all: true}, []string{"a"}, ""},
		"a name and an age":     {cacheChoice{unused: time.Hour}, []string{"a"}, ""},
		"a name and a size":     {cacheChoice{keep: "1kB"}, []string{"a"}, ""},
		"all and a size":        {cacheChoice{all: true, keep: "1kB"}, nil, ""},
		"an age in the future":  {cacheChoice{unused: -time.Hour}, nil, ""},
		"a size without a unit": {cacheChoice{keep: "1"}, nil, ""},
		"an empty name":         {cacheChoice{}, []string{""}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			choose, err := test.choice.of(test.args)
			if err != nil {
				if test.want != "" {
					t.Error(err)
				}
				return
			}
			names := []string{}
			for _, e := range choose(append([]cache.Entry(nil), all...)) {
				names = append(names, e.Name)
			}
			if got := fmt.Sprint(names); got != test.want {
				t.Errorf("removes %s, want %q", got, test.want)
			}
		})
	}
}
