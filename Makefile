.PHONY: demo test transcripts lint release setup

# Sets up what is missing, builds, and shows the three doors on an embedded store.
demo: setup
	cargo run --locked --quiet -- demo

# Sets up what is missing and passes every test.
test:
	scripts/setup test
	cargo test --locked --no-fail-fast

# How many of the exchanges recorded of ungleich-otp are answered as they were, and which differ, and why.
transcripts: setup
	cargo test --locked --quiet --test it -- --nocapture compat::replay::recorded

# Format, clippy, and the licences, sources and bans of every dependency.
lint:
	scripts/setup lint
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	target/tools/bin/cargo-deny --locked check bans licenses sources

# The binary to deploy: target/release/realmgate.
release: setup
	cargo build --locked --release

setup:
	scripts/setup build
