.PHONY: demo test transcripts lint fuzz bench release setup

# How long each target is fuzzed.
FUZZ_SECONDS ?= 60

# Sets up what is missing, builds, and shows the three doors on an embedded store.
demo: setup
	cargo run --locked --quiet -- demo

# Sets up what is missing and passes every test.
test:
	scripts/setup test
	cargo test --locked --workspace --no-fail-fast

# How many of the exchanges recorded of ungleich-otp are answered as they were, and which differ, and why.
transcripts: setup
	cargo test --locked --quiet --test it -- --nocapture compat::replay::recorded

# Format, clippy, and the licences, sources and bans of every dependency; known vulnerabilities too where the
# database of advisories is at hand (target/tools/bin/cargo-deny fetch db).
lint:
	scripts/setup lint
	cargo fmt --all --check
	rustfmt --check --edition 2024 fuzz/targets/*.rs
	cargo clippy --locked --workspace --all-targets -- -D warnings
	target/tools/bin/cargo-deny --locked check bans licenses sources
	@if [ -d "$${CARGO_HOME:-$$HOME/.cargo}/advisory-dbs" ]; then \
		target/tools/bin/cargo-deny --offline --locked check advisories; \
	else \
		echo "lint: there is no database of advisories here, so they are not checked"; \
	fi

# Attacks each parser for FUZZ_SECONDS with inputs made up from those in fuzz/corpus/.
fuzz:
	scripts/setup fuzz
	scripts/fuzz $(FUZZ_SECONDS)

# What each door costs beside nginx, HAProxy, Envoy, Traefik, Caddy and Pingora: prints tables, and writes docs/performance-data.md.
bench:
	scripts/setup bench
	bench/all

# The binary to deploy: target/release/realmgate.
release: setup
	cargo build --locked --release

setup:
	scripts/setup build
