// Command typecheck reports what does not compile for other machines, tests included: there, system calls have
// numbers of other types, and an int may have 32 bits. It checks types, from source, and generates no code: a
// build for another machine takes ten times as long, most of it for the libraries.
//
//	typecheck MACHINE...
package main

import (
	"fmt"
	"os"

	"golang.org/x/tools/go/packages"
)

func main() {
	if len(os.Args) == 1 {
		fmt.Fprintln(os.Stderr, "usage: typecheck MACHINE..., such as arm64")
		os.Exit(2)
	}
	failed := false
	for _, machine := range os.Args[1:] {
		faults, err := check(machine)
		if err != nil {
			fmt.Fprintf(os.Stderr, "typecheck: %s: %v\n", machine, err)
			os.Exit(1)
		}
		for _, fault := range faults {
			fmt.Fprintf(os.Stderr, "%s: %s\n", machine, fault)
		}
		failed = failed || len(faults) > 0
	}
	if failed {
		os.Exit(1)
	}
}

// check returns the errors of all packages of the module in the working directory, and of those they import.
func check(machine string) (faults []string, err error) {
	loaded, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedDeps |
			packages.NeedTypes | packages.NeedTypesSizes | packages.NeedSyntax,
		Env:   append(os.Environ(), "GOOS=linux", "GOARCH="+machine, "CGO_ENABLED=0"),
		Tests: true,
	}, "./...")
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{} // a package and its variant for tests have the same errors
	packages.Visit(loaded, nil, func(p *packages.Package) {
		for _, e := range p.Errors {
			if !seen[e.Error()] {
				seen[e.Error()] = true
				faults = append(faults, e.Error())
			}
		}
	})
	return faults, nil
}
