#!/bin/sh
# Checks what needs no test: formatting, vet and, at the version that go.mod's
# tools name, staticcheck; and that all of it, tests too, compiles for the other
# machines that releases are made for.
set -eu

unformatted=$(gofmt -l $(git ls-files -co --exclude-standard '*.go'))
if [ -n "$unformatted" ]; then
	echo "not gofmt-clean:" $unformatted >&2
	exit 1
fi
go vet ./...
(cd foreign && go vet ./...)
go tool staticcheck ./...
go run ./scripts/typecheck arm64 386 arm riscv64 ppc64le
