# Two commands do everything on a fresh machine (Debian, root, Go 1.26):
#   make demo    install what is missing, build, run a pipeline
#   make test    install what is missing, run all tests

BIN := bin/stepexec
HELLO := fixtures/pipelines/hello

.PHONY: build demo test vm lint bench man install release setup clean

build:
	CGO_ENABLED=0 go build -trimpath -o $(BIN) ./cmd/stepexec

demo: setup build
	go run ./fixtures/cmd/fixtures busybox $(HELLO)/.images/busybox
	$(BIN) run $(HELLO)/pipeline.yml

test: setup lint
	./scripts/test.sh

# Only the tests in the virtual machine, which are part of make test.
vm: setup
	./scripts/vm/test.sh

lint:
	./scripts/lint.sh

# The program, its man pages, completions and systemd units: make install PREFIX=/usr DESTDIR=...
PREFIX := /usr/local
install: build man
	install -D -m 0755 $(BIN) $(DESTDIR)$(PREFIX)/bin/stepexec
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 0644 out/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/lib/systemd/system
	$(BIN) completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/stepexec
	for unit in contrib/*.service; do \
		sed 's,/usr/local/bin/,$(PREFIX)/bin/,' $$unit >$(DESTDIR)$(PREFIX)/lib/systemd/system/$$(basename $$unit); \
	done

# Archives and packages for every machine, to out/release: make release VERSION=1.2.3
release:
	./scripts/release.sh $(VERSION)

bench: setup build
	./bench/warm.sh

# Man pages, to out/man.
man:
	go test ./cmd/stepexec -run '^TestManPages$$' -count=1 -args -man=$(CURDIR)/out/man

# Debian's packages that stepexec, its tests and its fixtures use.
setup:
	./scripts/install-packages.sh

clean:
	rm -rf bin out fixtures/pipelines/*/.images
