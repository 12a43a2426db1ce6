package servertest

import (
	"context"
	"path"

	"google.golang.org/grpc"

	"github.com/stepexec/stepexec/runner/woodpecker/wire"
)

// services describes the methods of the protocol to gRPC.
func services() []*grpc.ServiceDesc {
	auth := &grpc.ServiceDesc{ServiceName: "proto.WoodpeckerAuth", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{describe(wire.Auth, (*Server).Auth)}}
	woodpecker := &grpc.ServiceDesc{ServiceName: "proto.Woodpecker", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{
		describe(wire.Version, (*Server).Version),
		describe(wire.RegisterAgent, (*Server).RegisterAgent),
		describe(wire.UnregisterAgent, (*Server).UnregisterAgent),
		describe(wire.ReportHealth, (*Server).ReportHealth),
		describe(wire.Next, (*Server).Next),
		describe(wire.Init, (*Server).Init),
		describe(wire.Wait, (*Server).Wait),
		describe(wire.Extend, (*Server).Extend),
		describe(wire.Update, (*Server).Update),
		describe(wire.Log, (*Server).Log),
		describe(wire.Done, (*Server).Done),
	}}
	return []*grpc.ServiceDesc{auth, woodpecker}
}

func describe[Request, Answer any](method wire.Method[Request, Answer], does func(*Server, context.Context, *Request) (*Answer, error)) grpc.MethodDesc {
	handle := func(server any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		request := new(Request)
		if err := decode(request); err != nil {
			return nil, err
		}
		info := &grpc.UnaryServerInfo{Server: server, FullMethod: string(method)}
		return intercept(ctx, request, info, func(ctx context.Context, request any) (any, error) {
			return does(server.(*Server), ctx, request.(*Request))
		})
	}
	return grpc.MethodDesc{MethodName: path.Base(string(method)), Handler: handle}
}
