# Everything here is one command that you could type yourself.
FUZZTIME ?= 10s
TOOL = go tool -modfile=go.tool.mod

.PHONY: check ci test fmt lint fuzz bench figures killloop fleet crashclones parts-up parts-down parts-status

check: ; bash .ci/check   # what CI runs, with the parts that are there
ci: ; bash .ci/run        # the whole gate: installs, starts the parts, leaves nothing out (Debian, root)

test: ; go test ./...
fmt: ; $(TOOL) gofumpt -w .
lint: ; go vet ./... && $(TOOL) golangci-lint run ./...
fuzz: ; FUZZTIME=$(FUZZTIME) bash .ci/fuzz

# Slow ones; docs/figures.md has what they last said.
bench: ; go run ./internal/bench
figures: bench
killloop: ; TOCSIN_FULL=1 go test ./internal/app -run TestKill -count=1 -timeout 60m -v
fleet: ; TOCSIN_FULL=1 go test ./internal/app -run TestFleet -count=1 -timeout 90m -v # DATABASE_URL, KAFKA_BROKERS: of make parts-up
crashclones: ; TOCSIN_FULL=1 go test ./internal/journal/disk -run "PowerCut|AnyByte" -count=1 -timeout 30m -v

parts-up: ; bash parts/all.sh up
parts-down: ; bash parts/all.sh down
parts-status: ; bash parts/all.sh status
