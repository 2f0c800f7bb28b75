# KRM. Run "make help" for the list of targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
TOOL    := go tool -modfile=tools/go.mod
MODULES := . test/cluster test/e2e test/bench test/kubectl test/kubelets test/node test/influxd
PACKAGES ?= ./...

.PHONY: help run build deps test test-unit test-integration test-compat test-metrics test-billing e2e-pipeline e2e e2e-kubelet bench-stream bench-read bench-collector bench-billing verify fix cluster clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## Run KRM for your kubeconfig, or else for a local control plane with simulated pods
	@hack/run.sh

build: ## Build bin/krm
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/krm ./cmd/krm

deps: ## Install the Debian packages that tests need (as root or with sudo), or say how
	@hack/deps.sh

test: deps build ## Run every suite that needs no root and no kubelet
	@$(MAKE) --no-print-directory test-unit
	@hack/with-cluster.sh $(MAKE) --no-print-directory test-integration test-compat test-metrics e2e-pipeline
	@$(MAKE) --no-print-directory test-billing

test-unit: ## Run the unit tests: no cluster, no server, under a minute
	@hack/gotest.sh unit $(PACKAGES)
	@for module in test/e2e test/bench test/kubelets test/node; do echo "# $$module"; (cd $$module && go test ./...); done
	@echo "# test/cluster"; hack/cluster.sh test

test-integration: deps ## Run the tests that need a real Redis, InfluxDB and control plane
	@hack/influxd.sh hack/with-cluster.sh hack/test-integration.sh

e2e-pipeline: deps build ## Prove, end to end and under faults, that KRM says what the API server says
	@hack/with-cluster.sh hack/e2e-pipeline.sh

test-compat: deps build ## Compare KRM with the API server: kubectl, raw requests, informers, two replicas
	@hack/with-cluster.sh hack/test-compat.sh $(COMPAT_FLAGS)

test-metrics: deps build ## Prove that the metrics of simulated and recorded nodes are right, under faults too
	@hack/with-cluster.sh hack/test-metrics.sh $(METRICS_FLAGS)

test-billing: deps build ## Prove that billing is right to the last sample, on InfluxDB and embedded
	@hack/test-billing.sh $(BILLING_FLAGS)

e2e: e2e-kubelet ## Run every suite that needs root and a real kubelet

e2e-kubelet: deps build ## Compare the metrics of a real kubelet's pods with what they burn (root)
	@hack/e2e-kubelet.sh $(E2E_FLAGS)

bench-stream: deps build ## Measure the way from a watch frame to the mirror
	@mkdir -p bin && cd test/bench && go build -o ../../bin/bench-stream ./stream
	@bin/bench-stream --krm=bin/krm $(BENCH_FLAGS)

bench-read: deps build ## Measure reading KRM beside reading the API server
	@hack/bench-read.sh $(BENCH_FLAGS)

bench-collector: deps build ## Measure collecting 1,000 and 5,000 nodes, and reading the model
	@hack/bench-collector.sh $(BENCH_FLAGS)

bench-billing: deps build ## Measure a month of 1,000 pods, and the last hour, on InfluxDB and embedded
	@hack/influxd.sh hack/bench-billing.sh $(BENCH_FLAGS)

verify: ## Check what CI checks: format, lint, modules, scripts
	@hack/verify.sh

fix: ## Repair what can be repaired: format, imports, modules
	$(TOOL) gofumpt -w $$(git ls-files --cached --others --exclude-standard '*.go')
	$(TOOL) golangci-lint run --fix $(PACKAGES) || true
	@for module in $(MODULES) tools; do (cd $$module && go mod tidy); done

CLUSTER_DIR ?= .krm/cluster
cluster: ## Run a local control plane in the foreground: make cluster CLUSTER_DIR=dir
	@exec hack/cluster.sh up --dir=$(CLUSTER_DIR) $(CLUSTER_FLAGS)

clean: ## Remove what was built and the local control plane's data
	rm -rf bin .krm
