# Every check that CI runs, under the same names. The one to know is `make test`, which every push has to pass. `make nightly`
# also runs what takes longer.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

HOST := $(shell rustc -vV | sed -n 's/^host: //p')
BOOTSTRAP := $(or $(CARGO_TARGET_DIR),target)/$(HOST)/bootstrap/bootstrap
TOOLS_PROGRAM := $(or $(CARGO_TARGET_DIR),target)/$(HOST)/bootstrap/coshell-tools
DIST_COSHELL := $(or $(CARGO_TARGET_DIR),target)/$(HOST)/dist/coshell
RELEASE := coshell-$(shell sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q}' Cargo.toml)-linux-$(shell uname -m)
TOOLS := target/test-tools
RIE := $(TOOLS)/aws-lambda-rie
# Packs relative relocations, which saves 70 KB of bootstrap, from glibc 2.36 on; see src/bootstrap/build.
STATIC := -C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs
# The number of invocations in the soak on a push, and at night.
SOAK ?= 2000
LONG_SOAK := 50000
# The version whose emulator the tests are written for.
SAM_CLI := aws-sam-cli==1.170.0
VENV := $(TOOLS)/venv
CLIENTS := $(VENV)/installed
DEPLOY_VENV := $(TOOLS)/deploy-venv
DEPLOY_TOOLS := $(DEPLOY_VENV)/installed
# The files of tests that depend on bash.
ON_BASH := answer_faults|arguments|bounds|calls|channels|containment|context|deadline|differential|errors|examples|filters|frames|idioms|http_|init|isolation|jq|keep|lambda_log|lanes|leaks|left_behind|leftovers|logs|network|next_faults|own_errors|payload|places|programs|restore|script|settings|shutdown|snapshot|state_fuzz|streaming|surroundings|watchers
BUILT := $${CARGO_TARGET_DIR:-target}
# Runs clippy as the compiler, as `cargo clippy` does, but for a real build: lints and tests share it, which saves a third of the
# time from an empty target.
LINTING := RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-Dwarnings
# Most tests wait for something, so three tests for each processor run at a time.
NEXTEST := $(LINTING) cargo nextest run --workspace --locked -j $$((3 * $(shell nproc)))
# For tests that cargo does not run: coshell, and the folder of the tests that cargo compiled. `make clone` passes both to
# a clone, which has none.
COSHELL = $$(realpath $(BUILT)/debug/coshell)
TESTS = $$(realpath $(BUILT)/debug/deps)
# Node.js is installed only where there is none.
DEPLOY_PACKAGES := docker-registry shellcheck unzip $(if $(shell type -P node),,nodejs)
PACKAGES := awscli bash-static bats ca-certificates chromium curl gawk groff-base jq openssl perl procps python3 python3-pip python3-venv \
	shellcheck shfmt unzip util-linux
SCRIPTS := $(shell git ls-files --cached --others --exclude-standard -- \
	'*.bash' '*.sh' '*.bats' '.ci/run' '.ci/release-*' tests/image/make-stand-ins tests/near src/bootstrap/build src/bootstrap/shrink bench/run bench/readme bench/aws/measure 'bench/baseline/*/bootstrap' \
	'examples/deploy/aws-cli/publish-*' 2>/dev/null | sort -u)
# These fixtures are written as people write, with their oddities, because tests compare their behaviour.
CHECKED := $(filter-out tests/fixtures/handlers/% tests/fixtures/idioms/% tests/fixtures/scripts/%,$(SCRIPTS))

.DEFAULT_GOAL := help
.PHONY: help test long nightly check packages test-tools lint format nextest rust near clients aws fetch pages recordings recordings-test driver \
	failing smoke clone book book-test programs lint-images test-bash static-bash random soak bench bootstrap tools coshell stand-ins install-test \
	image-test tutorial-image deploy-tools deploy-test \
	dist clean

help: ## prints this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

test: packages test-tools lint rust ## what every push has to pass; installs what the tests use
	@# Most of these wait for something, so three run at a time. With $$(MAKE), make -n would run them.
	$(MAKE_COMMAND) -j3 aws soak pages clients clone fetch recordings-test driver book-test failing
	@printf '%s\n' 'make test: every check passed'

long: packages test-tools lint-images static-bash random install-test ## what takes longer, and needs no Docker
	$(MAKE) soak SOAK=$(LONG_SOAK)

nightly: test long image-test deploy-test ## everything; needs Docker and the base images
	@printf '%s\n' 'make nightly: every check passed'

check: lint rust driver failing clone ## the checks for which nothing needs to be installed

packages: ## installs the Debian packages that the tests use
	@# dpkg-query fails if it does not know one of them: then that package is missing.
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

$(CLIENTS): tests/clients/requirements.txt tests/aws/requirements.txt tests/book/requirements.txt docs/recordings/requirements.txt
	@echo "make test-tools: downloading from PyPI:" $$(grep -hv '^#' $^)
	@python3 -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check --only-binary :all: $(addprefix -r ,$^)
	@touch $@

deploy-tools: $(DEPLOY_TOOLS) ## the tools of deploy-test, from PyPI

$(DEPLOY_TOOLS): tests/deploy/requirements.txt
	@echo "make deploy-test: downloading from PyPI:" $$(grep -v '^#' $<)
	@python3 -m venv --clear $(DEPLOY_VENV)
	@$(DEPLOY_VENV)/bin/python -m pip install -q --disable-pip-version-check --only-binary :all: -r $<
	@touch $@

lint: ## checks formatting and lints of Rust and of scripts
	cargo fmt --check
	$(LINTING) cargo test --workspace --locked --no-run
	shellcheck -x $(CHECKED)
	shfmt -i 2 -ci -d $(CHECKED)

lint-images: ## lints coshell as the images have it
	cargo clippy --no-default-features --locked -- -D warnings

format: ## formats Rust and scripts
	cargo fmt
	shfmt -i 2 -ci -w $(CHECKED)

programs: ## coshell and bootstrap, not optimised, for the tests
	$(LINTING) cargo build --workspace --locked

nextest:
	@cargo nextest --version >/dev/null 2>&1 || { echo "make nextest: installing cargo-nextest"; \
	  cargo install -q --locked cargo-nextest; }

rust: test-tools programs nextest ## unit and integration tests, on the system's bash
	$(NEXTEST)

book: test-tools ## the book of docs, in target/book; BOOK_URL is where files outside of the book are, if anywhere
	@docs/book/assemble target/book-source $(BOOK_URL)
	@$(VENV)/bin/mdbook build target/book-source

book-test: book ## looks at the book in Chromium, and follows its links
	python3 -B tests/run tests/book $(TEST)

near: programs nextest ## the tests for the files that differ from the last commit
	tests/near $(NEXTEST)

clients: test-tools programs ## AWS's clients and runtimes, with coshell serve between them
	COSHELL=$(BUILT)/debug/coshell RUST_RUNTIME=$(BUILT)/debug/rust-runtime \
	  $(VENV)/bin/python -B tests/run tests/clients $(TEST)

aws: test-tools programs ## the command aws beside the AWS CLI, and the recipes, on moto
	COSHELL=$(COSHELL) TOOLS_PROGRAM=$$(realpath $(BUILT)/debug/coshell-tools) $(VENV)/bin/python -B tests/run tests/aws $(TEST)

fetch: programs ## lambda_fetch beside curl, and TLS
	TOOLS_PROGRAM=$$(realpath $(BUILT)/debug/coshell-tools) python3 -B tests/run tests/fetch $(TEST)

pages: test-tools programs ## the commands and handlers of the pages, with what they print
	COSHELL=$(BUILT)/debug/coshell $(VENV)/bin/python -B tests/run tests/pages $(TEST)

recordings: test-tools bootstrap tools coshell ## remakes the recordings in docs/recordings that show something else today, or NAMES; nothing else may run
	COSHELL=$(DIST_COSHELL) BOOTSTRAP=$(BOOTSTRAP) $(VENV)/bin/python -B docs/recordings/record $(NAMES)

recordings-test: test-tools programs ## the recordings show what the programs print today
	COSHELL=$(COSHELL) BOOTSTRAP=$$(realpath $(BUILT)/debug/bootstrap) $(VENV)/bin/python -B tests/run tests/recordings $(TEST)

driver: programs ## the driver alone
	DRIVER_TEXT=$$(realpath $(BUILT)/debug/driver-text) bats tests/driver

test-bash: test-tools programs nextest ## the tests that depend on bash, on the bash that COSHELL_TEST_BASH names
	@"$${COSHELL_TEST_BASH:?is not set: COSHELL_TEST_BASH=/path/to/bash make test-bash}" -c 'echo "make test-bash: bash $$BASH_VERSION"'
	$(NEXTEST) --no-fail-fast -E 'test(/^($(ON_BASH))/)'

static-bash: ## the same on Debian's bash-static
	COSHELL_TEST_BASH=/usr/bin/bash-static $(MAKE) test-bash

random: test-tools programs nextest ## the random tests, for as long as at night
	COSHELL_TEST_SEED=clock COSHELL_TEST_MUTATIONS=100000 COSHELL_TEST_LEAK_EVENTS=300 COSHELL_TEST_HANDLERS=10000 \
	  $(NEXTEST) --profile night -E 'test(/^(state_fuzz|leaks|differential_random)::/)'
	COSHELL_TEST_SEED=clock COSHELL_TEST_HANDLERS=100000 $(NEXTEST) --profile night -E 'test(/^differential_shell::/)'

smoke: $(RIE) ## the README's first command, and the tests that read the repository's own files
	COSHELL=$(COSHELL) TESTS=$(TESTS) RIE=$(abspath $(RIE)) bats tests/smoke

clone: $(RIE) ## proves that a clone has everything it needs
	COSHELL=$(COSHELL) TESTS=$(TESTS) RIE=$(abspath $(RIE)) bats tests/clone

soak: bootstrap ## SOAK mixed invocations, after which no figure may have grown
	python3 -B bench/cases/soak $(BOOTSTRAP) $(SOAK)

bench: ## measures everything in bench/README.md, and updates the tables of the README and docs/measurements.md; half an hour in which nothing else may run
	bench/run

failing: nextest ## proves that a failing test fails the run
	@if COSHELL_TEST_FAIL=1 $(NEXTEST) -E 'test(=tidy::fails_on_request)' >/dev/null 2>&1; then \
	  echo 'make failing: a failing test did not fail the run' >&2; exit 1; \
	fi

bootstrap: ## the program that Lambda runs, static and stripped
	src/bootstrap/build $(HOST) $(or $(CARGO_TARGET_DIR),target) bootstrap
	@ls -l $(BOOTSTRAP)

tools: ## the second program, with jq, static and stripped
	src/bootstrap/build $(HOST) $(or $(CARGO_TARGET_DIR),target) tools
	@ls -l $(TOOLS_PROGRAM)

coshell: bootstrap ## the command line, static and stripped, which contains that bootstrap
	RUSTFLAGS='$(STATIC)' COSHELL_BUNDLED_BOOTSTRAP='$(abspath $(BOOTSTRAP))' \
	  cargo build --profile dist --locked -p coshell --target $(HOST)
	@ls -l $(DIST_COSHELL)

dist: bootstrap tools coshell ## the files of a release for this machine's architecture: see .ci/release-files
	.ci/release-files $(RELEASE) $(BOOTSTRAP) $(TOOLS_PROGRAM) $(DIST_COSHELL)

stand-ins: $(RIE) ## local images under the names of the base images, for a machine that can pull none
	RIE=$(RIE) tests/image/make-stand-ins $(STAND_INS)

install-test: packages dist ## tests the files of a release, and what cargo install installs, from nothing
	BOOTSTRAP=$(abspath $(BOOTSTRAP)) RELEASE=$(RELEASE) bats tests/install

tutorial-image: bootstrap ## the tutorial's image with our bootstrap in it; needs Docker and its base image
	@$(MAKE) -s packages PACKAGES='bats curl'
	BOOTSTRAP=$(BOOTSTRAP) bats tests/image/tutorial.bats

image-test: test-tools programs tutorial-image ## builds the images and invokes them; needs Docker and the base images
	bats tests/image/function.bats tests/image/small.bats

deploy-test: bootstrap programs $(DEPLOY_TOOLS) ## the commands of docs/deploy.md and docs/deploy, against a stand-in for AWS; needs Docker
	@$(MAKE) -s packages PACKAGES='$(DEPLOY_PACKAGES)'
	@# Only bootstrap is deployed, so the coshell of the tests will do, which saves minutes.
	@install -D -t target/deploy-programs $(BOOTSTRAP) $(BUILT)/debug/coshell
	PROGRAMS=target/deploy-programs $(DEPLOY_VENV)/bin/python -B tests/run tests/deploy $(TEST)

clean: ## removes what was built
	cargo clean
