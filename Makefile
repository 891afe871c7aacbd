# `make` or `make help` lists what there is to do. Needed: Go (see go.mod), make and, for the race detector in
# `make test`, a C compiler. Everything else is built from pinned Go modules into .cache.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-print-directory

VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo v0.0.0)
FUZZTIME  ?= 30s
# Go's modules in this repository. The test modules keep their dependencies out of hssgate's go.mod.
MODULES   := . hss/sdkoracle hack/controlplane hack/tools hack/chart hack/kubescore hack/node hack/image hack/helm3 internal/report/schematest
TESTED    := hss/sdkoracle hack/chart hack/image internal/report/schematest

ROOT      := $(CURDIR)
TOOLS     := $(ROOT)/.cache/tools/bin
ASSETS    := $(ROOT)/.cache/controlplane/bin
NODE      := $(ROOT)/.cache/node/bin
comma     := ,
# The tools that are built from hack/chart.
FOR_CHART := $(addprefix $(TOOLS)/,helm helm-docs actionlint)

# The Dockerfile and the verification below use the same flags, so the same commit gives the same file anywhere.
GO_BUILD  := CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.version=$(VERSION)"

##@ Try it

.PHONY: demo
demo: ## Send the sample manifests to hssgate's webhook; CLUSTER=1: through a real API server
ifeq ($(CLUSTER),1)
	@$(MAKE) controlplane
	KUBEBUILDER_ASSETS=$(ASSETS) go test -count=1 -v -timeout 30m -run '^TestCluster$$' ./hack/demo
else
	go run ./hack/demo
endif

##@ Build

.PHONY: build
build: ## Build bin/hssgate, one static file
	$(GO_BUILD) -o bin/hssgate ./cmd/hssgate

.PHONY: simulator
simulator: ## Build bin/hss-simulator, which serves an inventory file as if it were HSS
	$(GO_BUILD) -o bin/hss-simulator ./cmd/hss-simulator

# What krew and the GitHub Action install.
DIST      ?= bin/dist
RELEASED  ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

# The Dockerfile's image, without Docker.
NAME      ?= hssgate
# Of other architectures there is no shell on this machine.
PLATFORMS ?= $(if $(filter %-ci,$(NAME)),linux/$(shell go env GOHOSTARCH),linux/amd64,linux/arm64)

.PHONY: image
image: PROGRAM = $(NAME:%-ci=%)
image: $(NODE)/image ## Build the image without Docker, as an OCI layout in bin/image; PUSH=REFERENCE pushes it; NAME=hssgate-ci: with a shell, for pipelines; NAME=hss-simulator
	@for platform in $(subst $(comma), ,$(PLATFORMS)); do \
	  export GOOS=$${platform%/*} GOARCH=$${platform#*/}; \
	  $(GO_BUILD) -o "bin/$${platform/\//-}/$(PROGRAM)" ./cmd/$(PROGRAM); \
	  hack/licenses.sh ./cmd/$(PROGRAM) > "bin/$${platform/\//-}/LICENSES.txt"; \
	done
	$(NODE)/image -f $(if $(filter hssgate,$(PROGRAM)),Dockerfile,hack/image/$(NAME).Dockerfile) $(if $(filter %-ci,$(NAME)),-target ci) -platform $(PLATFORMS) -o bin/image $(if $(PUSH),-push $(PUSH))

.PHONY: dist
dist: ## Build what a release holds into bin/dist: programs and archives for each platform, krew's manifest, CRDs and checksums
	@GO_BUILD='$(GO_BUILD)' VERSION='$(VERSION)' hack/dist.sh $(DIST) $(RELEASED)

.PHONY: verify-binary
verify-binary: build ## Check that bin/hssgate is static, under 80 MB and reproducible
	@hack/verify-binary.sh bin/hssgate
	@$(GO_BUILD) -o bin/hssgate.again ./cmd/hssgate
	@cmp bin/hssgate bin/hssgate.again && rm bin/hssgate.again && echo "two builds are the same, byte for byte"

.PHONY: generate
generate: $(TOOLS)/controller-gen $(TOOLS)/crd-ref-docs ## Generate deep copies, CRDs and the policy reference from the types
	@hack/generate.sh $(TOOLS) .

.PHONY: chart-docs
chart-docs: $(TOOLS)/helm-docs ## Write the chart's README from its values
	@$(TOOLS)/helm-docs --chart-search-root charts/hssgate --sort-values-order file --log-level warning

.PHONY: clean
clean: ## Remove what was built, the cached control plane and tools included
	rm -rf bin .cache coverage.out

# npm takes the packages that the lock file pins from the registry that it is set up with. None of their scripts runs.
SITE := hack/site/node_modules/.package-lock.json
$(SITE): hack/site/package.json hack/site/package-lock.json
	@command -v npm >/dev/null || { echo "the site needs Node.js 18 or later and npm: install them, or run hack/debian.sh as root"; exit 1; }
	@npm --prefix hack/site ci --ignore-scripts --silent
	@touch $@

.PHONY: site
site: $(SITE) ## Build the documentation as a site into bin/site (needs Node.js and npm)
	@timeout 600 hack/site/node_modules/.bin/vitepress build hack/site

##@ Check

# Programs of tests are linked without symbols, which takes half of the time; `make lint` vets them. The longest packages come
# first, so that no processor waits for them in the end.
GO_TEST   := test -race -vet=off -ldflags='-s -w' -timeout 60m
LONGEST   := ./test/e2e ./charts ./test/outage ./cmd/hssgate . ./internal/inventory

.PHONY: test
test: require-cc controllers $(FOR_CHART) ## Run all tests under the race detector, the ones against a real API server included, and thousands of simulated HSSs without it
	KUBEBUILDER_ASSETS=$(ASSETS) go $(GO_TEST) $(LONGEST) $$(go list ./... | grep -v '/test/cluster$$')
	go test -vet=off -ldflags='-s -w' -timeout 60m ./test/behavior
	go test -vet=off -ldflags='-s -w' -timeout 60m -run Universes ./internal/doctor -universes 2000
	@for module in $(TESTED); do \
	  echo "go -C $$module test"; \
	  go -C $$module $(GO_TEST) ./...; \
	done

# Not part of `make test`: it needs root, and what it needs takes minutes more to build.
.PHONY: e2e
e2e: require-root node $(TOOLS)/helm $(TOOLS)/helm3 ## As root: install the image and the chart on a real node, and take them through their life
	HSSGATE_E2E=1 go test -count=1 -v -timeout 60m ./test/cluster

.PHONY: require-root
require-root:
	@[[ $$(id -u) == 0 ]] || { echo "make e2e needs root, since it starts a node with kubelet and containerd: sudo make e2e"; exit 1; }
	@command -v runc nft busybox >/dev/null || { echo "make e2e needs runc and others: run hack/debian.sh as root"; exit 1; }

.PHONY: test-browser
test-browser: ## Open the HTML report in a real headless Chromium, which must be installed (hack/debian.sh installs it)
	@command -v "$${CHROMIUM:-chromium}" >/dev/null || { \
	  echo "make test-browser needs Chromium: install it, run hack/debian.sh as root, or set CHROMIUM"; exit 1; }
	go vet -tags browser ./internal/report
	go test -race -tags browser -run 'ThePage' -timeout 30m ./internal/report

.PHONY: test-site
test-site: site ## Open the site in a headless Chromium: links, search, phones; SCREENSHOTS=FOLDER takes pictures
	@timeout 600 node --test hack/site/site.test.mjs

# The measurements of docs/performance.md by their letters there; (b), (c) and (d) are tests, which log what they find.
ONLY   ?= abcde
BENCH  := bin/bench.test -test.run '^$$' -test.cpu 1 -test.timeout 0

.PHONY: bench
bench: $(TOOLS)/benchstat ## Measure hssgate and what it is compared with, in minutes; ONLY=ae: only these (docs/performance.md); QUICK=1: less exactly; CONTENDER="NAME=FILE …": other webhooks, too
ifneq (,$(findstring a,$(ONLY))$(findstring e,$(ONLY)))
	@mkdir -p bin
	@go test -c -o bin/bench.test ./test/bench
endif
ifneq (,$(findstring e,$(ONLY)))
	@$(if $(CLUSTER),,$(MAKE) controlplane)
	@$(BENCH) -test.bench Creates -test.benchtime 1x -rounds $(if $(filter 1,$(QUICK)),3,10) \
	  $(if $(CONTENDER),-contender "$(CONTENDER)") $(if $(CLUSTER),-kubeconfig "$(CLUSTER)")
endif
ifneq (,$(findstring a,$(ONLY)))
	@for round in $$(seq $(if $(filter 1,$(QUICK)),1,10)); do \
	  $(BENCH) -test.bench Review; \
	done | tee bin/bench.txt
	@$(TOOLS)/benchstat bin/bench.txt
endif
ifneq (,$(findstring b,$(ONLY)))
	go test -v -count 1 -run '^TestAnImageTakesLessThanAKilobyte$$' ./internal/inventory
endif
ifneq (,$(findstring c,$(ONLY)))
	go test -v -count 1 -run '^TestTenThousandPodsOfFiftyImagesCostFiftyLookUps$$' ./internal/inventory
endif
ifneq (,$(findstring d,$(ONLY)))
	go test -v -count 1 -run '^TestAnHourOfOutage$$' ./test/outage
endif

.PHONY: fuzz
fuzz: ## Run every fuzz test for FUZZTIME (30s)
	@hack/fuzz.sh $(FUZZTIME)

.PHONY: lint
lint: vet lint-format lint-golangci chart-lint verify-generated verify-modules ## Run every check that reads the code instead of running it

.PHONY: vet
vet: ## go vet
	go vet ./...
	@for module in $(TESTED); do go -C $$module vet ./...; done

.PHONY: lint-format
lint-format: ## Check that every Go file is formatted by gofmt
	@unformatted=$$(find . -path ./.cache -prune -o -name '*.go' -exec gofmt -l {} +); \
	if [[ -n $$unformatted ]]; then echo "not formatted by gofmt:"; echo "$$unformatted"; exit 1; fi

.PHONY: lint-golangci
lint-golangci: $(TOOLS)/golangci-lint ## golangci-lint by .golangci.yml
	$(TOOLS)/golangci-lint run ./...
	@for module in $(TESTED); do (cd $$module && $(TOOLS)/golangci-lint run --config $(ROOT)/.golangci.yml ./...); done

.PHONY: chart-lint
chart-lint: $(FOR_CHART) $(TOOLS)/kube-score ## helm lint, kube-score, actionlint, and whether the chart's README is up to date
	@hack/chart/lint.sh $(TOOLS)

.PHONY: verify-generated
verify-generated: $(TOOLS)/controller-gen $(TOOLS)/crd-ref-docs ## Check that generated files fit the types
	@hack/verify-generated.sh $(TOOLS)

.PHONY: verify-modules
verify-modules: ## Check that each go.mod and go.sum has just what is used
	@for module in $(MODULES); do \
	  go -C $$module mod tidy -diff || { echo "$$module/go.mod isn't tidy: go -C $$module mod tidy"; exit 1; }; \
	done

.PHONY: vulncheck
vulncheck: $(TOOLS)/govulncheck ## Look for known vulnerabilities in what hssgate calls (asks vuln.go.dev)
	@hack/vulncheck.sh $(TOOLS)/govulncheck

##@ What the checks need

.PHONY: controlplane
controlplane: ## Build etcd, kube-apiserver and kubectl for the tests, once (minutes; cached in .cache)
	@hack/controlplane/build.sh

# `make test` needs them too: a ReplicaSet gets its pods in by itself once their image is scanned.
.PHONY: controllers
controllers: ## Build the controllers and the scheduler besides, once (minutes; cached in .cache)
	@hack/controlplane/build.sh etcd kube-apiserver kubectl kube-controller-manager kube-scheduler

.PHONY: node
node: controllers $(NODE)/containerd $(NODE)/image ## Build all of a real node (hack/node/node.sh runs it), once (minutes; cached in .cache)
	@hack/controlplane/build.sh kubelet kube-proxy

# What the node runs besides Kubernetes.
$(NODE)/containerd: hack/node/go.mod hack/node/go.sum $(wildcard hack/node/*/*.go)
	@echo "building containerd, CoreDNS and a registry (only the first time) ..."
	@mkdir -p $(NODE)
	@CGO_ENABLED=0 go -C hack/node build -trimpath -ldflags '-s -w' -o $(NODE)/ ./registry ./coredns ./pause $$(go -C hack/node list -f '{{.ImportPath}}' tool)
	@touch $@

$(NODE)/image: hack/image/go.mod hack/image/go.sum $(wildcard hack/image/*.go)
	@mkdir -p $(NODE)
	@CGO_ENABLED=0 go -C hack/image build -trimpath -ldflags '-s -w' -o $@ .
	@touch $@

.PHONY: tools
tools: $(addprefix $(TOOLS)/,controller-gen crd-ref-docs golangci-lint govulncheck benchstat kube-score) $(FOR_CHART) ## Build the pinned tools into .cache/tools/bin

.PHONY: require-cc
require-cc:
	@command -v "$$(go env CC)" >/dev/null || { \
	  echo "make test needs a C compiler for Go's race detector, and there's no $$(go env CC) on PATH: install gcc or clang"; exit 1; }

# Every tool is rebuilt when its pinned version may have changed.
$(TOOLS)/controller-gen: PACKAGE := sigs.k8s.io/controller-tools/cmd/controller-gen
$(TOOLS)/crd-ref-docs:   PACKAGE := github.com/elastic/crd-ref-docs
$(TOOLS)/golangci-lint:  PACKAGE := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(TOOLS)/govulncheck:    PACKAGE := golang.org/x/vuln/cmd/govulncheck
$(TOOLS)/benchstat:      PACKAGE := golang.org/x/perf/cmd/benchstat
$(TOOLS)/helm:           PACKAGE := helm.sh/helm/v4/cmd/helm
$(TOOLS)/helm3:          PACKAGE := helm.sh/helm/v3/cmd/helm
$(TOOLS)/helm-docs:      PACKAGE := github.com/norwoodj/helm-docs/cmd/helm-docs
$(TOOLS)/actionlint:     PACKAGE := github.com/rhysd/actionlint/cmd/actionlint
$(TOOLS)/kube-score:     PACKAGE := github.com/zegl/kube-score/cmd/kube-score

# The module of each tool: some need other versions than the rest.
$(TOOLS)/%:          MODULE := hack/tools
$(FOR_CHART):        MODULE := hack/chart
$(TOOLS)/kube-score: MODULE := hack/kubescore
$(TOOLS)/helm3:      MODULE := hack/helm3

define build_tool
	@echo "building $(@F) (only the first time) ..."
	@mkdir -p $(TOOLS)
	@CGO_ENABLED=0 go -C $(MODULE) build -trimpath -ldflags '-s -w' -o $@ $(PACKAGE)
	@touch $@
endef

$(FOR_CHART): hack/chart/go.mod hack/chart/go.sum
	$(build_tool)
$(TOOLS)/kube-score: hack/kubescore/go.mod hack/kubescore/go.sum
	$(build_tool)
$(TOOLS)/helm3: hack/helm3/go.mod hack/helm3/go.sum
	$(build_tool)
$(TOOLS)/%: hack/tools/go.mod hack/tools/go.sum
	$(build_tool)

.PHONY: help
help: ## Show this
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
