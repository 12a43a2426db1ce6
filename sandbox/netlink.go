package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// A netlink library would cost half a megabyte of the program; these are the
// two questions that stepexec has for rtnetlink(7).

// route is an entry of the host's IPv4 routing tables.
type route struct {
	to   netip.Prefix // 0.0.0.0/0: the default route
	link int          // index of the interface it leads out of
}

// hostRoutes lists the IPv4 routes of all tables.
func hostRoutes() ([]route, error) {
	dump, err := syscall.NetlinkRIB(syscall.RTM_GETROUTE, syscall.AF_INET)
	if err != nil {
		return nil, fmt.Errorf("list the host's routes: %w", err)
	}
	messages, err := syscall.ParseNetlinkMessage(dump)
	if err != nil {
		return nil, fmt.Errorf("list the host's routes: %w", err)
	}
	var routes []route
	for i := range messages {
		if messages[i].Header.Type != syscall.RTM_NEWROUTE {
			continue
		}
		r, err := parseRoute(&messages[i])
		if err != nil {
			return nil, fmt.Errorf("list the host's routes: %w", err)
		}
		routes = append(routes, r)
	}
	return routes, nil
}

func parseRoute(message *syscall.NetlinkMessage) (route, error) {
	attributes, err := syscall.ParseNetlinkRouteAttr(message)
	if err != nil {
		return route{}, err
	}
	var r route
	to := netip.IPv4Unspecified()
	for _, attribute := range attributes {
		switch attribute.Attr.Type {
		case syscall.RTA_DST:
			to, _ = netip.AddrFromSlice(attribute.Value)
		case syscall.RTA_OIF:
			r.link = int(binary.NativeEndian.Uint32(attribute.Value))
		}
	}
	r.to, err = to.Prefix(int(message.Data[1])) // rtm_dst_len of struct rtmsg
	return r, err
}

// deleteLink deletes a network interface. It is no error when there is none.
func deleteLink(name string) error {
	index, err := linkIndex(name)
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return err
	}
	request := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(request[0:], uint32(len(request)))
	binary.NativeEndian.PutUint16(request[4:], unix.RTM_DELLINK)
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	binary.NativeEndian.PutUint32(request[unix.SizeofNlMsghdr+4:], index)
	if err := askNetlink(request); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete network interface %s: %w", name, err)
	}
	return nil
}

func linkIndex(name string) (uint32, error) {
	request, err := linkIoctl(name, unix.SIOCGIFINDEX, nil)
	if err != nil {
		return 0, err
	}
	return request.Uint32(), nil
}

// askNetlink sends a request and returns the error of its acknowledgement.
func askNetlink(request []byte) error {
	socket, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	if err := unix.Sendto(socket, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, unix.Getpagesize())
	n, _, err := unix.Recvfrom(socket, answer, 0)
	if err != nil {
		return err
	}
	if n < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return errors.New("unexpected answer from the kernel")
	}
	if code := int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}
