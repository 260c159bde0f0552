# The commands of this repository; `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint unit e2e test-drivers test-regress test-postgres18 test-identity test-warehouses test-crd test-kubernetes test-sarif test-deploy test-compose test-image fuzz bench bench-micro bench-count schema clean

DEBUG := target/debug/tollhouse
RELEASE := target/release/tollhouse
SCRIPTS := .ci/run $(wildcard tests/*.sh tests/*/*.sh deploy/*.sh deploy/*/*.sh benches/*.sh)

help: ## List the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "%-15s %s\n", $$1, $$2 }'

setup: ## Install what build, demo and tests need (apt packages, a Python environment in .cache)
	@tests/setup.sh

demo: setup ## Run a dbt project through Tollhouse into PostgreSQL; KEEP=1 leaves it running; POLICY=derived: under its own policy
	cargo build --release --locked
	@KEEP=$(KEEP) TOLLHOUSE_BINARY=$(RELEASE) deploy/demo/$(if $(filter derived,$(POLICY)),derived,run).sh

test: lint unit e2e ## Everything the gate runs: lints, unit and integration tests, real drivers and dbt

lint: setup ## Formatting, clippy and shellcheck, with warnings as errors
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	.cache/venv/bin/shellcheck --external-sources $(SCRIPTS)

unit: setup ## The tests that cargo runs
	cargo test --locked

e2e: setup ## Real clients and a real PostgreSQL: the demo, the driver sessions, identities, regression tests, the crash test
	@# The same build as the tests': with their dependencies' features everything would be compiled once more.
	cargo test --locked --no-run
	TOLLHOUSE_BINARY=$(DEBUG) deploy/demo/run.sh
	TOLLHOUSE_BINARY=$(DEBUG) deploy/demo/derived.sh
	TOLLHOUSE_BINARY=$(DEBUG) tests/drivers.sh
	TOLLHOUSE_BINARY=$(DEBUG) tests/identity.sh gate
	TOLLHOUSE_BINARY=$(DEBUG) tests/deploy.sh gate
	TOLLHOUSE_BINARY=$(DEBUG) tests/regress.sh short
	TOLLHOUSE_BINARY=$(DEBUG) tests/crash.sh

test-drivers: ## Every driver of the matrix; needs Node.js, Go, Java and Maven
	@tests/setup.sh drivers
	cargo build --locked --bins --example tokio_postgres_session
	TOLLHOUSE_BINARY=$(DEBUG) tests/drivers.sh all

test-regress: setup ## PostgreSQL's own test suites, directly and through the sidecar, compared test by test
	cargo build --release --locked
	TOLLHOUSE_BINARY=$(RELEASE) tests/regress.sh full

test-postgres18: setup ## PostgreSQL 18 on both sides: protocol 3.2, direct TLS, OAUTHBEARER (needs npm)
	cargo build --locked
	TOLLHOUSE_BINARY=$(DEBUG) tests/postgres18.sh

test-identity: setup ## Identities and exchanges against Keycloak, SPIRE, Vault and others (needs Node.js, Go, Java, Maven); BEDS="moto vault" for some
	cargo build --locked
	TOLLHOUSE_BINARY=$(DEBUG) tests/identity.sh $(BEDS)

test-warehouses: setup ## HTTP warehouses: real servers or emulators, dbt and client libraries (needs Maven, Java 17 and 24)
	cargo build --locked
	TOLLHOUSE_BINARY=$(DEBUG) tests/warehouses.sh

test-crd: ## The CustomResourceDefinitions against Kubernetes' own validation (needs Go)
	tests/crd.sh

test-kubernetes: setup ## Webhook, controller and tokens against a real kube-apiserver and kube-controller-manager (needs Go)
	cargo build --locked
	TOLLHOUSE_BINARY=$(DEBUG) tests/kubernetes.sh

test-sarif: setup ## What lint writes as SARIF against the published schema (needs npm)
	cargo build --locked
	@TOLLHOUSE_BINARY=$(DEBUG) tests/sarif.sh

test-deploy: setup ## Chart, kustomize, Prometheus' rules, dashboard, list of components (needs Go)
	cargo build --locked
	TOLLHOUSE_BINARY=$(DEBUG) tests/deploy.sh

test-compose: ## deploy/docker-compose.yaml in a Docker engine of its own, on stand-ins of its images (as root)
	cargo build --locked
	TOLLHOUSE_BINARY=$(DEBUG) tests/compose.sh

test-image: ## deploy/Dockerfile in the same way; PROFILE=dev is quicker, TWICE=1 builds it again and compares (as root)
	tests/image.sh

fuzz: ## Each fuzz target for FUZZ_SECONDS (60); KEEP=1 takes what was found worth keeping into the corpus
	@tests/fuzz.sh

bench: setup ## The flows straight, through Tollhouse and through its peers, into target/bench; see benches/README.md
	benches/setup.sh
	cargo build --release --locked
	TOLLHOUSE_BINARY=$(RELEASE) benches/flows.sh

bench-micro: setup ## What analysis, decision and admission cost in time
	cargo bench --locked --bench micro

bench-count: setup ## Instructions per operation, held against benches/counts.txt; UPDATE=1 writes it anew
	benches/setup.sh
	cargo bench --locked --bench count --no-run
	benches/count.py "$$(cargo bench --locked --bench count --no-run --message-format json 2>/dev/null | sed -n 's/.*"executable":"\([^"]*count[^"]*\)".*/\1/p')"

schema: ## Write the generated files anew (schemas, expected outputs of tests)
	UPDATE=1 cargo test --locked

clean: ## Remove what was built and installed here
	cargo clean
	rm -rf .cache fuzz/target fuzz/artifacts
