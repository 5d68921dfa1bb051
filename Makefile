.PHONY: demo demo-shop test clients transcripts lint fuzz bench release deb image book python setup

# How long each target is fuzzed.
FUZZ_SECONDS ?= 60

# Installs what is missing, builds, and shows the three doors with an embedded store.
demo: setup
	@echo "demo: the first build takes 3 to 4 minutes on two cores"
	cargo build --locked
	@cargo run --locked --quiet -- demo

# Installs what is missing, builds, and runs three services in Python and Rust that call each other through realmgate.
demo-shop: setup
	scripts/setup python
	cargo build --locked --bin realmgate --example stock
	@target/tools/client/bin/python examples/shop/run target/debug/realmgate target/debug/examples/stock

# Installs what is missing and runs every test. A test that fails runs once more, alone: see scripts/run-tests.
test:
	scripts/setup test
	scripts/run-tests --workspace
	scripts/test-postgres --append

# Calls an application through realmgate with the HTTP, gRPC and WebSocket clients of curl, Python, Rust, Go, Java and
# Node. Prints the table of docs/clients.md, and fails if it differs.
clients:
	scripts/setup clients
	cargo build --locked --bins --example calls
	target/tools/clients/bin/python tests/clients/run

# Replays recorded exchanges with ungleich-otp, and shows which responses differ and why.
transcripts: setup
	cargo test --locked --quiet --test it -- --nocapture compat::replay::recorded

# Checks format, clippy, and the licenses, sources and bans of every dependency; known vulnerabilities too if the
# advisory database has been fetched (target/tools/bin/cargo-deny fetch db).
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

# Fuzzes each parser for FUZZ_SECONDS, starting from fuzz/corpus/.
fuzz:
	scripts/setup fuzz
	scripts/fuzz $(FUZZ_SECONDS)

# Measures each door beside nginx, HAProxy, Envoy, Traefik, Caddy and Pingora: prints tables, and writes docs/performance-data.md.
bench:
	scripts/setup bench
	bench/all

# The binary to deploy: target/release/realmgate, optimized for the requests of a training. PROFILE=none omits that: see
# docs/release.md.
PROFILE ?= train
release:
	scripts/setup $(if $(filter train,$(PROFILE)),release,build)
	scripts/release $(PROFILE)

# The Debian package of the release: target/deb/realmgate_VERSION_ARCH.deb, checked by lintian, with the list of its
# crates and SHA-256 sums.
deb: release
	scripts/setup deb
	rm -rf target/deb
	mkdir -p target/deb
	scripts/deb target/release/realmgate target/deb
	lintian --fail-on error,warning target/deb/*.deb
	scripts/sbom target/deb
	cd target/deb && sha256sum realmgate_* > SHA256SUMS

# The container image of the release: target/image/realmgate_VERSION_ARCH.oci.tar, and the same with a health check for
# Docker and Podman in ….docker.tar, with the list of its crates and SHA-256 sums. Asks no registry.
image: release
	scripts/setup image
	rm -rf target/image
	mkdir -p target/image
	scripts/image target/release/realmgate target/image
	scripts/sbom target/image
	cd target/image && sha256sum realmgate_* > SHA256SUMS

# The documentation as a book, with its links checked: target/book/index.html.
book:
	scripts/setup book
	scripts/book target/book

# The Python client: a wheel and a source archive in target/python.
python:
	scripts/setup python
	rm -rf target/python
	SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct -- clients/python)} \
		target/tools/client/bin/python -m build --no-isolation --outdir target/python clients/python

setup:
	scripts/setup build
