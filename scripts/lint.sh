#!/bin/sh
# Checks what needs no test: formatting, vet and, at the version that go.mod's
# tools name, staticcheck. Other machines than this one have other types of numbers in system
# calls: vet compiles everything, also the tests, for one of 64 and one of 32 bits, and the program
# compiles for all that releases have.
set -eu

unformatted=$(gofmt -l $(git ls-files -co --exclude-standard '*.go'))
if [ -n "$unformatted" ]; then
	echo "not gofmt-clean:" $unformatted >&2
	exit 1
fi
go vet ./...
(cd foreign && go vet ./...)
go tool staticcheck ./...
export CGO_ENABLED=0
for machine in arm64 386; do GOARCH=$machine go vet ./...; done
for machine in arm riscv64 ppc64le; do GOARCH=$machine go build -o /dev/null ./cmd/stepexec; done
