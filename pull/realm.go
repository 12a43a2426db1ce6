package pull

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// realmSuffix marks names that stand for token servers given by address. The registry library
// refuses private addresses as realms, whoever names them; here the dialer decides, because it
// knows whether the registry itself is private. Such a name is never resolved.
const realmSuffix = ".realm.invalid"

// realmParameter matches the realm of a challenge; names of parameters are case-insensitive (RFC
// 9110, 11.2).
var realmParameter = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)(\brealm\s*=\s*")([^"]*)"`) })

// hideRealm replaces addresses of token servers by names in the challenges of an answer.
func hideRealm(resp *http.Response) {
	for i, challenge := range resp.Header["Www-Authenticate"] {
		resp.Header["Www-Authenticate"][i] = realmParameter().ReplaceAllStringFunc(challenge, func(parameter string) string {
			parts := realmParameter().FindStringSubmatch(parameter)
			return parts[1] + hiddenRealm(parts[2], resp.Request.URL.Host) + `"`
		})
	}
}

// hiddenRealm returns a realm with a name in place of an address, or the realm itself.
func hiddenRealm(realm, host string) string {
	u, err := url.Parse(realm)
	if err != nil || u.Host == host {
		return realm
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		return realm
	}
	name := fmt.Sprintf("%x", ip.AsSlice()) + realmSuffix
	if port := u.Port(); port != "" {
		name += ":" + port
	}
	u.Host = name
	return u.String()
}

// showRealm returns the request with the address that hideRealm replaced.
func showRealm(r *http.Request) *http.Request {
	hex, found := strings.CutSuffix(r.URL.Hostname(), realmSuffix)
	if !found {
		return r
	}
	var b []byte
	if _, err := fmt.Sscanf(hex, "%x", &b); err != nil {
		return r
	}
	ip, ok := netip.AddrFromSlice(b)
	if !ok {
		return r
	}
	shown := r.Clone(r.Context())
	shown.URL.Host = ip.String()
	if ip.Is6() {
		shown.URL.Host = "[" + ip.String() + "]"
	}
	if port := r.URL.Port(); port != "" {
		shown.URL.Host += ":" + port
	}
	shown.Host = ""
	return shown
}
