// Package wire is the wire protocol of a Woodpecker server: messages and methods,
// generated from woodpecker.proto by `go generate`. The client is package woodpecker.
//
// The generators have the versions of go.mod; protoc is that of Debian's package
// protobuf-compiler.
package wire

//go:generate sh -c "protoc --plugin=$(go tool -n protoc-gen-go) --plugin=$(go tool -n protoc-gen-go-grpc) --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative woodpecker.proto"
