package logs_test

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/logs"
)

// tools are commands that print $S as people and scripts print a value. The first word is looked up.
var tools = []string{
	`base64 <<<"$S"`, `base64 -w 76 <<<"user:$S"`, `base64 -w 0 <<<"$S"`, `base64 <<<"user:$S" | sed "s/^/    /"`, `base32 <<<"$S"`,
	`xxd -p <<<"$S"`, `xxd -i <<<"$S"`, `xxd <<<"$S"`, `od -An -tx1 <<<"$S"`, `od -c <<<"$S"`, `hexdump -C <<<"$S"`,
	`openssl enc -base64 <<<"$S"`, `openssl base64 -A <<<"$S"`,
	`jq -cn '{a: env.S}'`, `jq -n '{a: env.S} | tojson | tojson'`, `jq -rn 'env.S | @uri'`, `jq -rn 'env.S | @html'`, `jq -rn 'env.S | @sh'`,
	`jq -rn 'env.S | @base64'`, `jq -rn '[env.S] | @csv, @tsv'`, `jq -arn 'env.S | @json'`, `jq -cn 'env.S | explode'`, `jq -cn 'env.S | split("")'`,
	`python3 -c 'import os; s = os.environ["S"]; print(repr(s), ascii(s), s.encode(), list(s), list(s.encode()), s.encode().hex("-"))'`,
	`python3 -c 'import os, json; print(json.dumps({"a": json.dumps([os.environ["S"]], indent=2)}))'`,
	`python3 -c 'import os, html, urllib.parse as u; s = os.environ["S"]; print(html.escape(s), u.quote(s, safe=""), u.quote_plus(html.escape(s)))'`,
	`python3 -c 'import os, unicodedata as u; print(u.normalize("NFD", os.environ["S"]), u.normalize("NFC", os.environ["S"]))'`,
	`python3 -c 'import os, textwrap, pprint; s = os.environ["S"]; print(textwrap.fill(s, 15)); pprint.pprint({"a": s}, width=15)'`,
	`node -e 'const s = process.env.S; console.log([s], JSON.stringify(s), encodeURIComponent(s), escape(s), [...s], Buffer.from(s).toString("hex"))'`,
	`perl -MData::Dumper -e '$Data::Dumper::Useqq = 1; print Dumper($ENV{S}, [split //, $ENV{S}])'`,
	`bash -c 'printf "%q\n" "$S"; declare -p S; echo "${S@Q} ${S@A}"; set -x; : "$S"' 2>&1`, `env`,
	`git init -q r && cd r && git remote add o "https://user:$S@host/x" && git remote -v && git config --list`,
	`curl -sv -u "user:$S" -H "X-Token: ${S//$'\n'/ }" "$URL" 2>&1`,
	`grep --color=always -E '[a-z]+' <<<"$S"`, `fold -w 7 <<<"$S"`, `fmt -w 20 <<<"$S"`, `pr -t <<<"$S"`, `column -t <<<"$S"`, `cat -n <<<"$S"`, `nl <<<"$S"`,
	`sed 's/$/\r/' <<<"$S"`, `sed -n l <<<"$S"`, `sed 's/^/  | /' <<<"$S"`, `expand <<<"$S"`, `diff <(echo) <(echo "$S") || true`, `awk '{ printf "%s;", $0 }' <<<"$S"`,
	`printf '{"auths": {"host": {"auth": "%s"}}}\n' "$(printf 'user:%s' "$S" | base64 -w 0)"`, `printf '\033[1m%s\033[0m\n' "${S:0:9}"$'\033[31m'"${S:9}"`,
	`iconv -t UTF-16LE <<<"$S"`, `printf 'password: >-\n  %s\n' "${S//$'\n'/$'\n'  }"`,
}

// The value's words, none of which may be left, in clear or encoded, of what any tool prints.
func TestMaskFindsWhatToolsPrint(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(r.Header.Get("Authorization") + r.Header.Get("X-Token")))
	}))
	defer server.Close()
	for name, secret := range map[string]string{
		"token":           "hunter-correct_battery.staple",
		"specials":        `hunter"correct'<battery>&staple%2B$x\y+z/=?`,
		"accents":         "hünter-cörrect-báttery-stáple",
		"lines":           "-----BEGIN KEY-----\nhunterhunterhunter/correct+correct==\nbatterybatterybattery/staplestaple\n-----END KEY-----\n",
		"service account": "{\n  \"type\": \"hunter_account\",\n\t\"key\": \"correct\\nbattery\\n\",\r\n  \"id\": \"staple@example.com\"\n}\n",
		"newline":         "hunter correct battery staple\n",
	} {
		mask := logs.NewMask([]string{secret})
		var left []string
		for _, word := range []string{"hunter", "correct", "battery", "staple", "nter-c", "rrect-b"} {
			left = append(left, word, hex.EncodeToString([]byte(word)))
			for before := range 3 {
				text := base64.StdEncoding.EncodeToString([]byte("xxx"[:before] + word + "xx"))
				left = append(left, text[(before*8+5)/6:(before+len(word))*8/6])
			}
		}
		for _, tool := range tools {
			if _, err := exec.LookPath(strings.Fields(tool)[0]); err != nil {
				continue
			}
			t.Run(name+"/"+tool, func(t *testing.T) {
				cmd := exec.CommandContext(t.Context(), "bash", "-c", tool)
				cmd.Dir = t.TempDir()
				cmd.Env = []string{"S=" + secret, "URL=" + server.URL, "PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C.UTF-8", "PYTHONIOENCODING=utf-8", "HOME=" + cmd.Dir}
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				masked := mask.String(string(out))
				shown := logs.Sanitize(strings.NewReplacer("\n", "", " ", "", "\r", "").Replace(masked))
				for _, text := range left {
					if strings.Contains(shown, text) || strings.Contains(masked, text) {
						t.Errorf("%q is left in\n%s\nof\n%s", text, masked, out)
					}
				}
				if !strings.Contains(masked, logs.Replacement) {
					t.Errorf("nothing is masked in\n%s", out)
				}
			})
		}
	}
}
