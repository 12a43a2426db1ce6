package pipeline_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stepexec/stepexec/pipeline"
)

func given(name string) (string, bool) {
	if name == "GIVEN" {
		return "given $x", true
	}
	return "", false
}

func TestEnvFileKeepsTheTextThatIsNoVariable(t *testing.T) {
	tests := []struct{ name, file, want string }{
		{"a name that is set before", "WORD=x\nA=pa$WORD\n", "pax"},
		{"with braces", "WORD=x\nA=\"pa${WORD}d\"\n", "paxd"},
		{"in lower case", "word=x\nA=pa$word\n", "pax"},
		{"that the run was given", "A=<$GIVEN>\n", "<given $x>"},
		{"the later of two values", "B=1\nB=2\nA=$B\n", "2"},
		{"in single quotes", "A='pa$Word ${x}'\n", "pa$Word ${x}"},
		{"escaped", `A=pa\$Word`, "pa$Word"},
		{"escaped in double quotes", `A="pa\$Word\n\"q\""`, "pa$Word\n\"q\""},
		{"a digit", "A=postgres://u:p$1@h/db\n", "postgres://u:p$1@h/db"},
		{"alone", "A=5$ and $\n", "5$ and $"},
		{"two", "A=a$$1\n", "a$$1"},
		{"a command", "A=$(date)\n", "$(date)"},
		{"comment behind", "B=1\nA=$B # $NOPE\n", "1"},
		{"hash in quotes", "A=\"a # b\"\n", "a # b"},
		{"several lines", "A=\"one\ntwo\"\n", "one\ntwo"},
		{"several lines with an equals sign", "A=\"one\nB=two\"\n", "one\nB=two"},
		{"export", "export A=x\n", "x"},
		{"YAML's sign", "A: x\n", "x"},
		{"empty", "A=\n", ""},
		{"carriage returns", "A=x\r\nB=y\r\n", "x"},
		{"quote inside", "A=it's\n", "it's"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			entries, err := pipeline.ReadEnvFile(write(t, tt.file), given)
			if err != nil {
				t.Fatal(err)
			}
			got := "not set"
			for _, entry := range entries {
				if text, ok := strings.CutPrefix(entry, "A="); ok {
					got = text
				}
			}
			if got != tt.want {
				t.Errorf("A is %q, want %q", got, tt.want)
			}
		})
	}
}

func TestEnvFileRefusesWithTheLine(t *testing.T) {
	tests := []struct{ name, file, want string }{
		{"unknown name", "# a comment\n\nA=pa$Word\n", ":3: $Word: "},
		{"unknown name in double quotes", "A=1\nB=\"${Word}\"\n", ":2: $Word: "},
		{"set only later", "A=$B\nB=1\n", ":1: $B: "},
		{"brace that is not closed", "A=${B\n", ":1: a ${"},
		{"default value", "B=1\nA=${B:-x}\n", ":2: a ${"},
		{"no sign", "A=1\njust words\n", ":2: not in dotenv form"},
		{"quote that is not closed", "A=1\nB=\"open\nC=3\n", ":2: not in dotenv form"},
		{"behind a value of several lines", "A=\"one\ntwo\"\nB=$C\n", ":3: $C: "},
		{"not UTF-8", "A=\xff\n", ":1: not UTF-8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := write(t, tt.file)
			_, err := pipeline.ReadEnvFile(file, nil)
			if err == nil || !strings.Contains(err.Error(), file+tt.want) {
				t.Errorf("got %v, want %s%s", err, file, tt.want)
			}
		})
	}
}

func TestEnvFileThatGrowsIsRefused(t *testing.T) {
	file := "A0=0123456789\n"
	for i := range 40 {
		a, b := string(rune('A'+i%26)), string(rune('A'+(i+1)%26))
		if i == 0 {
			a = "A0"
		}
		file += b + "=$" + a + "$" + a + "$" + a + "$" + a + "\n"
	}
	if _, err := pipeline.ReadEnvFile(write(t, file), nil); err == nil || !strings.Contains(err.Error(), "more than 1 MiB") {
		t.Errorf("got %v", err)
	}
}

func TestSecretFileExpandsNothing(t *testing.T) {
	got, err := pipeline.ReadSecretFile(write(t, "A=hunter$Two2\nB=\"x${A}\"\nC='$A'\nD=p\\$q\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"A=hunter$Two2", "B=x${A}", "C=$A", "D=p$q"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestEnvLinesAreTakenAsTheyAre(t *testing.T) {
	file := write(t, "# comment\n\n  A=pa$Word \"q\" 'x'  \nB=\nGIVEN\nUNSET\nA=later=1\nC=a#b\r\n")
	got, unset, err := pipeline.ReadEnvLines(file, given)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"A=pa$Word \"q\" 'x'  ", "B=", "GIVEN=given $x", "A=later=1", "C=a#b"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"UNSET"}, unset); diff != "" {
		t.Error(diff)
	}
	bad := write(t, "A=1\nB C=2\n")
	if _, _, err := pipeline.ReadEnvLines(bad, given); err == nil || !strings.HasPrefix(err.Error(), bad+":2: ") {
		t.Errorf("got %v", err)
	}
}

func FuzzEnvFile(f *testing.F) {
	f.Add("A=1\nB=\"$A\"\n")
	f.Add("export A='x\ny' # c\nB: ${A}\\$")
	f.Fuzz(func(t *testing.T, text string) {
		file := write(t, text)
		entries, err := pipeline.ReadEnvFile(file, nil)
		if err == nil && !strings.Contains(text, "$") {
			secrets, err := pipeline.ReadSecretFile(file)
			if diff := cmp.Diff(entries, secrets); diff != "" || err != nil {
				t.Errorf("%v %s", err, diff)
			}
		}
	})
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "vars.env")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
