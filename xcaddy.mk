# Build, run, test and measure. `make -f xcaddy.mk test` is everything that has
# to pass; it asks for root for the end-to-end tests, which own their network.

CADDY   ?= ./caddy
CONFIG  ?= examples/Caddyfile
MODULE  := github.com/apoxy-dev/caddy-apoxy
XCADDY  := $(shell command -v xcaddy 2>/dev/null)
LINT    := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: build run test bench lint unit e2e clean

# With xcaddy, where it is installed; with plain go otherwise. Both give the
# same modules.
build:
ifneq ($(XCADDY),)
	$(XCADDY) build --with $(MODULE)/caddyapoxy --replace $(MODULE)=$(CURDIR) --output $(CADDY)
else
	go build -trimpath -o $(CADDY) ./cmd/caddy
endif

run:
	go run ./cmd/caddy run --config $(CONFIG)

test: lint unit e2e

lint:
	test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	go vet ./...
	go run $(LINT) ./...

unit:
	go test -race ./...
	cd bench && go vet ./...

# The end-to-end tests need root and the Debian packages nsd, unbound, dnsutils,
# chromium and libnss3-tools; .ci/run installs them.
e2e:
	@test "$$(id -u)" = 0 || { echo "The end-to-end tests make their own network: run 'sudo make -f xcaddy.mk test'." >&2; exit 1; }
	cd e2e && go vet ./... && go test -count=1 -timeout 15m ./...

bench:
	cd bench && go test -run '^$$' -bench . -benchmem ./...

clean:
	rm -f $(CADDY)
	rm -rf examples/data
