package woodpecker

import "strings"

// hint is what an administrator may do about a connection that does not come about, in
// parentheses; "" where nothing is known.
func hint(text string, tls bool) string {
	switch {
	case strings.Contains(text, "unexpected HTTP status code received from server: 50"): // a proxy that waits for the server, too
		return ""
	case strings.Contains(text, "looked like an HTTP/1.1 header"), strings.Contains(text, "unexpected HTTP status code"),
		strings.Contains(text, "unexpected content-type"), strings.Contains(text, "unknown service"):
		return " (is this the HTTP port? WOODPECKER_SERVER must be the server's gRPC port, 9000 unless it is set otherwise)"
	case tls && strings.Contains(text, "first record does not look like a TLS handshake"):
		return " (the server speaks no TLS at this port: set WOODPECKER_GRPC_SECURE=false)"
	case !tls && strings.Contains(text, "has not answered by HTTP/2"):
		return " (is this the HTTP port? WOODPECKER_SERVER must be the server's gRPC port; if it is, does the server want TLS? set WOODPECKER_GRPC_SECURE=true)"
	case strings.Contains(text, "certificate signed by unknown authority"):
		return " (let SSL_CERT_FILE name the certificate of the authority)"
	}
	return ""
}
