package wire

import (
	"context"
	"net/http"

	"google.golang.org/protobuf/proto"

	"github.com/stepexec/stepexec/runner/woodpecker/unary"
)

// Method is the path of a method of the server, with the types of its messages.
type Method[Request, Answer any] string

// Methods of the services WoodpeckerAuth and Woodpecker; see woodpecker.proto.
const (
	Auth            Method[AuthRequest, AuthResponse]                   = "/proto.WoodpeckerAuth/Auth"
	Version         Method[Empty, VersionResponse]                      = "/proto.Woodpecker/Version"
	RegisterAgent   Method[RegisterAgentRequest, RegisterAgentResponse] = "/proto.Woodpecker/RegisterAgent"
	UnregisterAgent Method[Empty, Empty]                                = "/proto.Woodpecker/UnregisterAgent"
	ReportHealth    Method[ReportHealthRequest, Empty]                  = "/proto.Woodpecker/ReportHealth"
	Next            Method[NextRequest, NextResponse]                   = "/proto.Woodpecker/Next"
	Init            Method[InitRequest, Empty]                          = "/proto.Woodpecker/Init"
	Wait            Method[WaitRequest, WaitResponse]                   = "/proto.Woodpecker/Wait"
	Extend          Method[ExtendRequest, Empty]                        = "/proto.Woodpecker/Extend"
	Update          Method[UpdateRequest, Empty]                        = "/proto.Woodpecker/Update"
	Log             Method[LogRequest, Empty]                           = "/proto.Woodpecker/Log"
	Done            Method[DoneRequest, Empty]                          = "/proto.Woodpecker/Done"
)

// Call makes a call of the method, as unary.Conn.Call does.
func (m Method[Request, Answer]) Call(ctx context.Context, c *unary.Conn, waits bool, metadata http.Header, request *Request) (*Answer, error) {
	answer := new(Answer)
	if err := c.Call(ctx, waits, string(m), metadata, any(request).(proto.Message), any(answer).(proto.Message)); err != nil {
		return nil, err
	}
	return answer, nil
}
