# gpdedup: `make help` lists what there is to make.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-print-directory
.DEFAULT_GOAL := build

# One word, as gpbackup wants it. Only the command line overrides it, never the environment.
VERSION = $(patsubst v%,%,$(or $(shell GIT_OPTIONAL_LOCKS=0 git describe --tags --always --dirty 2>/dev/null),0.1.0-dev))

FUZZTIME     ?= 20s
BENCHTIME    ?= 1s
SOAKTIMEOUT  ?= 60m
PKG           = ./...
# Where goroutines meet: these packages are tested a second time, under the race detector. `make test RACE=` goes without.
RACE          = storage index repo chunking
# Long tests of what one goroutine computes: the race detector makes them ten times as long and finds nothing.
RACESKIP      = BitFlips|Property|Predict|Golden|Vector|LongStream|CutsAre|Fuzz|Unprobed|TinyPages|Sim[A-Z]|WholeOp|Repair$$|DiesAtEachStep|DamageIsRepaired|MatchesModel|FlippedByte
PG            = 15

go-files      = find . -name '.?*' -prune -o -name build -prune -o -name '*.go' -print
race-packages = $(patsubst %,./%/...,$(wildcard $(RACE)))

# Debian packages that the tests need, each with what shows that it is there. The race detector needs a C compiler.
debs = gzip=gzip zstd=zstd coreutils=sha256sum zsh=zsh fish=fish groff-base=groff postgresql-$(PG)=/usr/lib/postgresql/$(PG)/bin/initdb \
       $(if $(RACE),gcc=gcc libc6-dev=/usr/include/stdlib.h)

# Tests of the command line take this binary. Run by hand, without it, they build their own.
test bench-go soak: export GPDEDUP_BINARY = $(CURDIR)/gpdedup

.PHONY: build
build: ## the static binary ./gpdedup (the default)
	@CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(firstword $(VERSION))' -o gpdedup ./cmd/gpdedup

.PHONY: demo
demo: build ## watch a repository at work on made-up backups
	@go run ./bench/demo --gpdedup ./gpdedup

.PHONY: test
test: debs build vet lint-layers s3server ## all tests, those of RACE's packages under the race detector too
	@$(if $(race-packages),go test -race -skip '$(RACESKIP)' $(race-packages))
	@go test ./...

.PHONY: debs
debs: # the Debian packages that the tests need
	@tools/dev/debs $(debs)

.PHONY: vet
vet: ## go vet, the long tests included
	@go vet ./...
	@go vet -tags soak ./...

.PHONY: lint-layers
lint-layers: ## only the direction of the imports; takes a second
	@go test ./tools/layers

.PHONY: lint
lint: lint-layers build/bin/golangci-lint build/bin/gofumpt ## golangci-lint and gofumpt, as pinned in tools/dev/go.mod
	@ok=true; \
	unformatted=$$($(go-files) | xargs -r build/bin/gofumpt -l); \
	[ -z "$$unformatted" ] || { echo "not formatted, see make fmt:" $$unformatted >&2; ok=false; }; \
	build/bin/golangci-lint run ./... || ok=false; \
	$$ok

.PHONY: fmt
fmt: build/bin/gofumpt ## formats every Go file
	@$(go-files) | xargs -r build/bin/gofumpt -w

.PHONY: bench
bench: build kopia ## gpdedup beside its peers: tables and plots of docs/performance.md, in ten minutes; ARGS=--quick, ARGS=--help
	@mkdir -p build/bin
	@go build -o build/bin/measure ./bench/measure
	@exec build/bin/measure $(ARGS)

.PHONY: bench-go
bench-go: build s3server ## go test's benchmarks of PKG, into build/bench.txt; the last ones become build/bench.old.txt
	@mkdir -p build
	@if [ -s build/bench.txt ]; then mv build/bench.txt build/bench.old.txt; fi
	@go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) $(PKG) | tee build/bench.txt

.PHONY: bench-days
bench-days: build ## thirty days of scattered changes, into docs/performance.md; takes a few minutes
	@go run ./bench/days --gpdedup ./gpdedup --update docs/performance.md

.PHONY: bench-pgdays
bench-pgdays: build ## five days of a table in a PostgreSQL, and its base backups, into docs/performance.md; takes a few minutes
	@go run ./bench/days --gpdedup ./gpdedup --source postgres --update docs/performance.md

.PHONY: bench-wal
bench-wal: build ## pushing, fetching and replaying WAL, into docs/performance.md; takes a few minutes
	@go run ./bench/wal --gpdedup ./gpdedup --update docs/performance.md

.PHONY: bench-base
bench-base: build ## base backups of five days, beside pgBackRest, into docs/performance.md; takes a few minutes
	@go run ./bench/base --gpdedup ./gpdedup --update docs/performance.md

.PHONY: bench-scale
bench-scale: build ## how time and memory grow with index, manifests and streams, into docs/performance.md; takes ten minutes
	@go run ./bench/scale --gpdedup ./gpdedup --update docs/performance.md

.PHONY: bench-locality
bench-locality: ## what a restore reads after a month of backups and prunes, into docs/performance.md; takes a few minutes
	@go run ./bench/locality --update docs/performance.md

.PHONY: benchstat
benchstat: build/bin/benchstat ## compares the last two `make bench-go`
	@build/bin/benchstat build/bench.old.txt build/bench.txt

.PHONY: fuzz
fuzz: ## every fuzz target of PKG, for FUZZTIME each
	@tools/dev/fuzz $(FUZZTIME) $(PKG)

.PHONY: soak
soak: build s3server ## all tests and the long proofs (tag soak), SOAKTIMEOUT for a package at most
	@go test -tags soak -count 1 -timeout $(SOAKTIMEOUT) $(PKG)

.PHONY: s3server
s3server: # the S3 server that tests start; built anew only when its sources changed
	@mkdir -p build/bin
	@flock build/bin $(MAKE) -s build/bin/s3server

# What the packages need beside Go.
dist-debs = dpkg=dpkg-deb rpm=rpmbuild

.PHONY: dist
dist: ## archives, .deb and .rpm for amd64 and arm64, with checksums, into dist; the same commit makes the same bytes
	@tools/dev/debs $(dist-debs)
	@go run ./tools/dist --version '$(firstword $(VERSION))' --epoch "$$(git log -1 --format=%ct)" --out dist

.PHONY: dist-check
dist-check: ## makes dist twice from clean clones, compares, installs and looks at it; takes a few minutes
	@tools/dev/debs $(dist-debs)
	@tools/dev/dist-check

.PHONY: kopia
kopia: # a peer to measure, from its sources; `make bench` goes without where they cannot be fetched
	@command -v kopia >/dev/null || $(MAKE) -s build/bin/kopia || echo 'kopia could not be built, and is left out' >&2

.PHONY: clean
clean: ## removes what was built
	@chmod -R u+w build 2>/dev/null || true
	@rm -rf gpdedup build dist

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

# The tools are built once for every change of what is pinned.
build/bin/golangci-lint: tool = github.com/golangci/golangci-lint/v2/cmd/golangci-lint
build/bin/gofumpt:       tool = mvdan.cc/gofumpt
build/bin/benchstat:     tool = golang.org/x/perf/cmd/benchstat
build/bin/golangci-lint build/bin/gofumpt build/bin/benchstat: tools/dev/go.mod tools/dev/go.sum
	@CGO_ENABLED=0 go build -C tools/dev -trimpath -buildvcs=false -ldflags '-s -w' -o '$(CURDIR)/$@' $(tool)
	@touch $@

# A module of its own, with versitygw pinned. The storage tests start it (storage/s3/s3test).
build/bin/s3server: $(wildcard tools/s3server/*)
	@CGO_ENABLED=0 go build -C tools/s3server -trimpath -buildvcs=false -ldflags '-s -w' -o '$(CURDIR)/$@' .
	@touch $@

# A module of its own, too: a peer that Debian does not have. Nothing but `make bench` builds it.
build/bin/kopia: tools/kopia/go.mod tools/kopia/go.sum
	@mkdir -p build/bin
	@echo 'building kopia, to be measured; it takes a few minutes' >&2
	@CGO_ENABLED=0 go build -C tools/kopia -trimpath -buildvcs=false -tags nohtmlui -ldflags '-s -w' -o '$(CURDIR)/$@' github.com/kopia/kopia
	@touch $@
