# Build, run, test and measure. `make -f xcaddy.mk test` is everything that has
# to pass; ./test.sh installs what it needs first.

SHELL   := bash
CADDY   ?= ./caddy
CONFIG  ?= examples/Caddyfile
MODULE  := github.com/apoxy-dev/caddy-apoxy
XCADDY  := $(shell command -v xcaddy 2>/dev/null)
LINT    := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: build run test bench lint unit guard e2e clean

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

test: lint unit guard e2e

lint:
	test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	bin=$$(mktemp -d) && trap 'rm -rf "$$bin"' EXIT && GOBIN=$$bin go install $(LINT) && \
	for module in . bench e2e; do (cd $$module && go vet ./... && "$$bin/staticcheck" ./...) || exit 1; done

# What failed is said once more at the end, and where a test stood that took too long.
# What requests cost is measured without the race detector, and WebAssembly's own
# tests are run without it.
unit:
	out=$$(mktemp -d) && trap 'rm -rf "$$out"' EXIT && \
	{ go test -race -timeout 15m ./... 2>&1 && : >"$$out/passed" || true; } | tee "$$out/log" && \
	{ test -e "$$out/passed" || { awk -f internal/house/stuck.awk "$$out/log"; exit 1; }; }
	go test -count=1 -run CostLittle ./apiserver
	go test -count=1 -run Specification ./internal/wasmloops

# What must not get several times slower or larger, as ratios in one process.
guard:
	cd bench && go test -count=1 -run '^TestGuard' -v . ./pages

# The end-to-end tests make a network namespace of their own, so their binary runs
# as root; everything it needs is built before, as who you are. They need Debian
# packages, which ./test.sh or e2e/packages.sh installs. RACE=1 puts the race
# detector into the program under test, too.
AS_ROOT := $(if $(filter 0,$(shell id -u)),env,sudo)
# Most of the time goes by in waiting, for a CA or a clock: six runs share it, the
# soak alone and five with every fifth other test, each in a network of its own.
e2e:
	dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	go build -o "$$dir/caddy-unwatched" ./cmd/caddy && \
	$(if $(RACE),go build -race -o "$$dir/caddy" ./cmd/caddy,ln -s caddy-unwatched "$$dir/caddy") && \
	cd e2e && \
	go build -o "$$dir/pebble" github.com/letsencrypt/pebble/v2/cmd/pebble && \
	go build -ldflags='-s -w' -o "$$dir/kubectl" ./kubectl && \
	go build -o "$$dir/etcd" go.etcd.io/etcd/server/v3 && \
	cp testdata/axe/package*.json "$$dir" && npm ci --ignore-scripts --no-audit --no-fund --prefix "$$dir" && \
	go test -c -o "$$dir/e2e.test" . && \
	part() { [ "$$1" = 5 ] && echo TestSoak && return; grep -ho '^func Test[A-Za-z0-9_]*(t ' *_test.go | sed 's/^func //; s/(t //' | grep -v '^TestSoak$$' | awk "NR % 5 == $$1" | paste -sd '|'; } && \
	run() { $(AS_ROOT) E2E_BIN="$$dir" PATH="$$PATH" "$$dir/e2e.test" -test.timeout 45m -test.run "^($$(part $$1))\$$" >"$$dir/$$1.log" 2>&1; \
		status=$$?; cat "$$dir/$$1.log"; echo "part $$1 of the end-to-end tests ended with status $$status after $$SECONDS s"; return $$status; } && \
	runs= && for i in 0 1 2 3 4 5; do run $$i & runs="$$runs $$!"; done && \
	failed=0 && for r in $$runs; do wait $$r || failed=1; done && exit $$failed

bench:
	cd bench && go test -run '^$$' -bench . -benchmem ./...

clean:
	rm -f $(CADDY)
	rm -rf examples/data
