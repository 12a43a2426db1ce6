package actions

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stepexec/stepexec/crash"
)

// socketName is the keeper's, in the job's folder.
const socketName = "socket"

// call is what a later call of the hook asks the keeper for. One of its fields is set.
type call struct {
	Script    *Container `json:"script,omitempty"`    // to be run in the job's container
	Container *Container `json:"container,omitempty"` // to be run beside it
	Logs      bool       `json:"logs,omitempty"`      // of the services, to be written to the first stream
	End       bool       `json:"end,omitempty"`
}

// answer is how a call ended.
type answer struct {
	Code     int      `json:"code"`
	Error    string   `json:"error,omitempty"` // a failure that is stepexec's own
	Warnings []string `json:"warnings,omitempty"`
	Deaths   []string `json:"deaths,omitempty"` // services that have ended since the last call, with their last lines
	Log      []string `json:"log,omitempty"`    // details of that failure for whoever runs stepexec
}

// listen makes the socket of a job. Its folder is the user's alone.
func listen(dir string) (*net.UnixListener, error) {
	return atSocket(dir, func(addr *net.UnixAddr) (*net.UnixListener, error) {
		listener, err := net.ListenUnix("unix", addr)
		if err == nil {
			listener.SetUnlinkOnClose(false) // it goes with the folder, and its name will mean something else
		}
		return listener, err
	})
}

func dial(dir string) (*net.UnixConn, error) {
	return atSocket(dir, func(addr *net.UnixAddr) (*net.UnixConn, error) { return net.DialUnix("unix", nil, addr) })
}

// atSocket calls use with a short path of a job's socket: the kernel takes 107 bytes.
func atSocket[T any](dir string, use func(*net.UnixAddr) (T, error)) (T, error) {
	folder, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		var none T
		return none, err
	}
	defer folder.Close()
	return use(&net.UnixAddr{Net: "unix", Name: filepath.Join("/proc/self/fd", fmt.Sprint(folder.Fd()), socketName)})
}

// answerTime is the time that a keeper has for the answer after a cancel.
const answerTime = stopGrace + 2*time.Second

// request sends a call, with the streams of what it starts, and waits for the answer. When
// ctx ends first, request closes the sending side of conn, which tells the keeper.
func (c *call) request(ctx context.Context, conn *net.UnixConn, streams ...*os.File) (answer, error) {
	var a answer
	if err := c.send(conn, streams...); err != nil {
		return a, err
	}
	defer context.AfterFunc(ctx, func() {
		_ = conn.CloseWrite()
		_ = conn.SetReadDeadline(time.Now().Add(answerTime))
	})()
	err := json.NewDecoder(conn).Decode(&a)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the process that keeps the job's containers has ended")
	}
	return a, err
}

// send sends a call, with the streams of what it starts.
func (c *call) send(conn *net.UnixConn, streams ...*os.File) error {
	var fds []int
	for _, file := range streams {
		fds = append(fds, int(file.Fd()))
	}
	if _, _, err := conn.WriteMsgUnix([]byte{byte(len(fds))}, unix.UnixRights(fds...), nil); err != nil {
		return err
	}
	return json.NewEncoder(conn).Encode(c)
}

// receive reads a call. The returned context ends when the other side has hung up.
func receive(ctx context.Context, conn *net.UnixConn) (_ context.Context, c call, streams []*os.File, err error) {
	count, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(8*4))
	_, n, _, _, err := conn.ReadMsgUnix(count, oob)
	if err != nil {
		return ctx, c, nil, err
	}
	if streams, err = descriptors(oob[:n]); err != nil {
		return ctx, c, nil, err
	}
	decoder := json.NewDecoder(conn)
	if err := decoder.Decode(&c); err != nil {
		return ctx, c, streams, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	go func() { // ends with the connection
		crashed := crash.Catch(func() { _, _ = io.Copy(io.Discard, conn) })
		cancel(cmp.Or(crashed, errors.New("cancelled by the runner")))
	}()
	return ctx, c, streams, nil
}

func descriptors(oob []byte) ([]*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return files, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "stream"))
		}
	}
	return files, nil
}
