package network

import (
	"fmt"
	"net"

	"github.com/stepexec/stepexec/container"
)

// FreePort returns a port that nothing uses at this moment, of the port's address of the host
// and for its protocol.
func FreePort(port container.Port) (number int, err error) {
	address := net.JoinHostPort(hostIP(port), "0")
	if protocolOf(port) == "udp" {
		socket, err := net.ListenPacket("udp", address)
		if err != nil {
			return 0, fmt.Errorf("find a free port: %w", err)
		}
		number = socket.LocalAddr().(*net.UDPAddr).Port
		return number, socket.Close()
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	number = listener.Addr().(*net.TCPAddr).Port
	return number, listener.Close()
}
