// Package wire is the wire protocol of a Woodpecker server: its methods, and messages generated from
// woodpecker.proto by `go generate`. The client is package woodpecker.
//
// The generator has the version of go.mod; protoc is that of Debian's package protobuf-compiler.
package wire

//go:generate sh -c "protoc --plugin=$(go tool -n protoc-gen-go) --go_out=. --go_opt=paths=source_relative woodpecker.proto"
