package ui

import (
	"crypto/subtle"
	"net/http"
	"slices"
	"strings"
	"time"
)

const cookieName = "stepexec-ui"

// policy allows a page what it needs: its own style sheet and scripts, and requests to where it came from.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Handler answers requests that come from a page of this server, in a browser that has shown the token.
func (s *Server) Handler() http.Handler {
	inside := http.StripPrefix(strings.TrimSuffix(s.base, "/"), s.routes())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		prolong(w)
		secure(w.Header())
		switch {
		case !slices.Contains(s.hosts, r.Host):
			// A name that a stranger has pointed at this machine: the browser takes this server for theirs.
			http.Error(w, "This server answers at "+s.host+" only.", http.StatusMisdirectedRequest)
		case !s.isOwnRequest(r):
			http.Error(w, "This request comes from another page.", http.StatusForbidden)
		case !strings.HasPrefix(r.URL.Path, s.base):
			refuse(w)
		case s.hasToken(r):
			http.SetCookie(w, &http.Cookie{Name: cookieName, Value: s.cookie, Path: s.base, HttpOnly: true, SameSite: http.SameSiteStrictMode})
			http.Redirect(w, r, s.base, http.StatusSeeOther) // the address bar and the history do not keep the token
		case !s.hasCookie(r):
			refuse(w)
		default:
			inside.ServeHTTP(w, r)
		}
	})
}

// prolong gives a response its time from now on. One that nobody reads ends after it.
func prolong(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime)) // a recorder has none
}

func secure(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

func refuse(w http.ResponseWriter) {
	http.Error(w, "Open the address that stepexec ui has printed.", http.StatusUnauthorized)
}

// isOwnRequest reports whether a request comes from a page of this server, or from a person who opens an
// address. Another port of this machine is another origin, but the same site: its pages must not make
// requests with the cookie.
func (s *Server) isOwnRequest(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+r.Host {
		return false
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return r.Method != http.MethodPost || r.Header.Get("Origin") != "" // which browsers send with every POST
	}
	return r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate"
}

// hasToken reports whether a request has the token of the printed address.
func (s *Server) hasToken(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Path == s.base && same(r.URL.Query().Get("token"), s.token)
}

func (s *Server) hasCookie(r *http.Request) bool {
	return slices.ContainsFunc(r.CookiesNamed(cookieName), func(c *http.Cookie) bool { return same(c.Value, s.cookie) })
}

// same compares secrets in a time that does not tell how much of them is equal.
func same(given, want string) bool {
	return subtle.ConstantTimeCompare([]byte(given), []byte(want)) == 1
}
