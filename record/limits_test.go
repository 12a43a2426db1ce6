package record_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/record"
)

// history makes three records of about 1 kB: of now, of an hour and of two days ago.
func history(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	for run, age := range map[string]time.Duration{"now": 0, "hour": time.Hour, "days": 48 * time.Hour} {
		must(t, begin(t, root, run).Close())
		dir := filepath.Join(root, "history", run)
		must(t, os.WriteFile(filepath.Join(dir, "log.ndjson"), make([]byte, 1000), 0o600))
		for _, name := range []string{"record.json", "log.ndjson"} {
			must(t, os.Chtimes(filepath.Join(dir, name), time.Time{}, time.Now().Add(-age)))
		}
	}
	return root
}

func names(t *testing.T, root string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, "history"))
	must(t, err)
	var all []string
	for _, entry := range entries {
		all = append(all, entry.Name())
	}
	return all
}

func TestTrimRemovesTheOldestFirst(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits record.Limits
		want   []string
	}{
		{"no limits", record.Limits{}, []string{"days", "hour", "now"}},
		{"all within", record.Limits{Runs: 3, Age: 72 * time.Hour, Bytes: 1e6}, []string{"days", "hour", "now"}},
		{"too many", record.Limits{Runs: 1}, []string{"now"}},
		{"too old", record.Limits{Age: 24 * time.Hour}, []string{"hour", "now"}},
		{"too large", record.Limits{Bytes: 2500}, []string{"hour", "now"}},
		{"one alone too large", record.Limits{Bytes: 10}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := history(t)
			removed, err := record.Trim(root, c.limits)
			must(t, err)
			if diff := cmp.Diff(c.want, names(t, root)); diff != "" || removed != 3-len(c.want) {
				t.Errorf("%d removed; left:\n%s", removed, diff)
			}
		})
	}
}

func TestTrimLeavesRunsThatLive(t *testing.T) {
	root := history(t)
	must(t, os.MkdirAll(filepath.Join(root, "runs", "days"), 0o700))
	_, err := record.Trim(root, record.Limits{Runs: 1})
	must(t, err)
	if diff := cmp.Diff([]string{"days", "now"}, names(t, root)); diff != "" {
		t.Error(diff)
	}
}

func TestTrimGoesOnWhereAKilledOneStopped(t *testing.T) {
	root := history(t)
	must(t, os.Rename(filepath.Join(root, "history", "hour"), filepath.Join(root, "history", ".removed-hour")))
	all, err := listAll(root)
	must(t, err)
	if len(all) != 2 {
		t.Errorf("list %+v", all)
	}
	_, err = record.Trim(root, record.Limits{})
	must(t, err)
	if diff := cmp.Diff([]string{"days", "now"}, names(t, root)); diff != "" {
		t.Error(diff)
	}
}

func TestTrimWithoutHistoryIsNoError(t *testing.T) {
	if removed, err := record.Trim(t.TempDir(), record.Limits{Runs: 1}); removed != 0 || err != nil {
		t.Errorf("Trim = %d, %v", removed, err)
	}
}
