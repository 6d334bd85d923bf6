# Every check that CI runs, under the same names. `make test` is the one to know.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

HOST := $(shell rustc -vV | sed -n 's/^host: //p')
BOOTSTRAP := target/$(HOST)/release/bootstrap
RELEASE := coshell-$(shell sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q}' Cargo.toml)-linux-$(shell uname -m)
# As Lambda spells it.
LAMBDA_ARCH := $(subst aarch64,arm64,$(shell uname -m))
TOOLS := target/test-tools
RIE := $(TOOLS)/aws-lambda-rie
# Relative relocations are packed: 70 KB less of bootstrap, from glibc 2.36 on.
STATIC := -C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs
# How many invocations the soak has.
SOAK ?= 50000
# The version that carries the emulator which the tests are written against.
SAM_CLI := aws-sam-cli==1.170.0
VENV := $(TOOLS)/venv
CLIENTS := $(VENV)/installed
DEPLOY_VENV := $(TOOLS)/deploy-venv
DEPLOY_TOOLS := $(DEPLOY_VENV)/installed
RUST_RUNTIME := tests/fixtures/rust-runtime
BUILT := $${CARGO_TARGET_DIR:-target}
# Whoever has Node.js already keeps it.
DEPLOY_PACKAGES := docker-registry shellcheck unzip $(if $(shell type -P node),,nodejs)
PACKAGES := bash-static bats ca-certificates chromium curl gawk groff-base perl procps python3 python3-pip python3-venv \
	shellcheck shfmt unzip util-linux
SCRIPTS := $(shell git ls-files --cached --others --exclude-standard -- \
	'*.bash' '*.sh' '*.bats' '.ci/*' tests/image/make-debian bench/run bench/readme bench/aws/measure 'bench/baseline/*/bootstrap' \
	'examples/deploy/aws-cli/publish-*' 2>/dev/null | sort -u)
# Fixtures are written as people write them, oddities and all: what they are compared for.
CHECKED := $(filter-out tests/fixtures/handlers/% tests/fixtures/scripts/%,$(SCRIPTS))

.DEFAULT_GOAL := help
.PHONY: help test check packages test-tools lint format rust clients driver failing static-bash \
	soak bench bootstrap coshell image-test deploy-tools deploy-test dist clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

test: packages test-tools lint rust clients driver static-bash soak failing ## installs what the tests need, runs all of them
	@printf '%s\n' 'make test: every check passed'

check: lint rust driver failing ## the same without installing anything

packages: ## Debian's packages that the tests use
	@# dpkg-query fails where it has never heard of one of them: then that one is missing.
	@missing=$$({ dpkg-query -W -f '$${Package} $${Status}\n' $(PACKAGES) 2>/dev/null || true; } \
	  | sed -n 's/ install ok installed$$//p' | sort | comm -13 - <(printf '%s\n' $(PACKAGES) | sort)); \
	if [[ -n $$missing ]]; then \
	  echo "make packages: installing with apt-get:" $$missing; \
	  as_root=; if ((EUID)); then as_root=sudo; fi; \
	  $$as_root apt-get -qq update; \
	  DEBIAN_FRONTEND=noninteractive $$as_root apt-get -qq -y --no-install-recommends install $$missing >/dev/null; \
	fi

test-tools: $(RIE) $(CLIENTS) ## AWS's emulator, CLI, SDK and runtime client, from PyPI

$(RIE):
	@echo "make test-tools: downloading $(SAM_CLI) from PyPI for the emulator in it"
	@mkdir -p $(TOOLS)
	@python3 -m pip download -q --no-deps --disable-pip-version-check --no-binary :none: -d $(TOOLS) $(SAM_CLI)
	@python3 -c "import sys, zipfile; \
	  machine = {'x86_64': 'x86_64', 'aarch64': 'arm64'}['$(shell uname -m)']; \
	  carried = zipfile.ZipFile(sys.argv[1]).read('samcli/local/rapid/aws-lambda-rie-' + machine); \
	  open('$(RIE)', 'wb').write(carried)" $(TOOLS)/aws_sam_cli-*.whl
	@chmod +x $(RIE)
	@rm -f $(TOOLS)/*.whl

$(CLIENTS): tests/clients/requirements.txt
	@echo "make test-tools: downloading from PyPI:" $$(grep -v '^#' $<)
	@python3 -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check --only-binary :all: -r $<
	@touch $@

deploy-tools: $(DEPLOY_TOOLS) ## what deploy-test uses, from PyPI

$(DEPLOY_TOOLS): tests/deploy/requirements.txt
	@echo "make deploy-test: downloading from PyPI:" $$(grep -v '^#' $<)
	@python3 -m venv --clear $(DEPLOY_VENV)
	@$(DEPLOY_VENV)/bin/python -m pip install -q --disable-pip-version-check --only-binary :all: -r $<
	@touch $@

lint: ## formatting and lints of Rust and of scripts
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	cargo clippy --no-default-features --features cli --bin coshell --locked -- -D warnings
	cargo clippy --no-default-features --bin bootstrap --locked -- -D warnings
	shellcheck -x $(CHECKED)
	shfmt -i 2 -ci -d $(CHECKED)

format: ## formats Rust and scripts
	cargo fmt
	shfmt -i 2 -ci -w $(CHECKED)

rust: test-tools ## unit and integration tests, on the system's bash
	cargo test --locked

clients: test-tools ## AWS's clients and runtimes with coshell serve between them
	cargo build --locked --bin coshell
	cargo build --locked --manifest-path $(RUST_RUNTIME)/Cargo.toml --target-dir $(BUILT)/rust-runtime
	COSHELL=$(BUILT)/debug/coshell RUST_RUNTIME=$(BUILT)/rust-runtime/debug/rust-runtime \
	  $(VENV)/bin/python -B tests/run tests/clients $(TEST)

driver: ## the driver alone
	bats tests/driver

static-bash: test-tools ## what depends on bash again, on Debian's bash-static
	COSHELL_TEST_BASH=/usr/bin/bash-static cargo test --locked --test it -- \
	  containment deadline errors init isolation scripts shutdown

soak: bootstrap ## 50,000 mixed invocations, after which nothing may have grown
	python3 -B bench/cases/soak $(BOOTSTRAP) $(SOAK)

bench: ## measures all that bench/README.md tells of, and the README's table; half an hour in which nothing else may run
	bench/run

failing: ## proves that a failing test fails the run
	@if COSHELL_TEST_FAIL=1 cargo test -q --locked --test it -- tidy::fails_when_told_to >/dev/null 2>&1; then \
	  echo 'make failing: a failing test did not fail the run' >&2; exit 1; \
	fi

bootstrap: ## the program that Lambda runs, static and stripped
	RUSTFLAGS='$(STATIC)' cargo build --release --locked --config bootstrap.toml \
	  --no-default-features --bin bootstrap --target $(HOST)
	@ls -l $(BOOTSTRAP)

coshell: ## the command line, static and stripped, beside bootstrap
	RUSTFLAGS='$(STATIC)' cargo build --release --locked \
	  --bin coshell --target $(HOST)
	@ls -l target/$(HOST)/release/coshell

dist: bootstrap coshell ## what a release has for this machine's architecture: programs and layer
	@rm -rf target/dist && mkdir -p target/dist/$(RELEASE)
	@cp target/$(HOST)/release/{bootstrap,coshell} LICENSE README.md target/dist/$(RELEASE)
	@cd target/dist && $(RELEASE)/coshell package --layer --arch $(LAMBDA_ARCH) -o $(RELEASE)-layer.zip
	@tar -C target/dist -czf target/dist/$(RELEASE).tar.gz --sort=name --owner=0 --group=0 --numeric-owner $(RELEASE)
	@rm -r target/dist/$(RELEASE)
	@ls -l target/dist

image-test: test-tools ## builds the images and invokes them; needs Docker and the base images
	cargo build --locked --bin coshell
	bats tests/image

deploy-test: bootstrap $(DEPLOY_TOOLS) ## docs/deploy.md and what it uses, in front of an AWS of our own; needs Docker
	@$(MAKE) -s packages PACKAGES='$(DEPLOY_PACKAGES)'
	@# Only bootstrap gets into what is deployed: the coshell of `make rust` saves the minutes of another.
	cargo build --locked --bin coshell
	@install -D -t target/deploy-programs $(BOOTSTRAP) $(BUILT)/debug/coshell
	PROGRAMS=target/deploy-programs $(DEPLOY_VENV)/bin/python -B tests/run tests/deploy $(TEST)

clean: ## what was built
	cargo clean
