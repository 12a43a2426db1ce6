package pull

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// realmSuffix marks names that stand for token servers given by address. The registry library
// refuses private addresses as realms, whoever names them; here the dialer decides, because it
// knows whether the registry itself is private. Such a name is never resolved.
const realmSuffix = ".realm.invalid"

// hideRealm replaces the address of a token server by a name in the challenges of an answer.
func hideRealm(resp *http.Response) {
	for i, challenge := range resp.Header["Www-Authenticate"] {
		before, rest, found := strings.Cut(challenge, `realm="`)
		if !found {
			continue
		}
		realm, after, _ := strings.Cut(rest, `"`)
		u, err := url.Parse(realm)
		if err != nil || u.Host == resp.Request.URL.Host {
			continue
		}
		ip, err := netip.ParseAddr(u.Hostname())
		if err != nil {
			continue
		}
		name := fmt.Sprintf("%x", ip.AsSlice()) + realmSuffix
		if port := u.Port(); port != "" {
			name += ":" + port
		}
		u.Host = name
		resp.Header["Www-Authenticate"][i] = before + `realm="` + u.String() + `"` + after
	}
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
