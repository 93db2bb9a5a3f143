# The commands of a checkout. Each sees by itself that what it needs is installed (scripts/setup).
.DEFAULT_GOAL := help
.PHONY: help run drill test soak fuzz miri chaos bench bench-log bench-http image dist size

# Arguments for `outpost up`: make run ARGS="--port 8081 --machine q35"
ARGS ?=

# Arguments for the benchmark.
BENCH ?=

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

run:  ## build the image, boot it in QEMU, show its events; Ctrl-C ends it
	@scripts/setup run
	@cargo run -p outpost-cli -- up $(ARGS)

drill:  ## every drill of `outpost drill`: an agent in trouble, and who learns of it how soon (four minutes)
	@scripts/setup run
	@cargo run -p outpost-cli -- drill all

test:  ## every check and every test, at most 10 minutes after the build
	@scripts/setup test
	@scripts/test

soak:  ## the simulation with many more seeds (SEEDS=20000), all pollers together for 5 minutes
	@scripts/setup test
	@OUTPOST_SEEDS=$${SEEDS:-20000} cargo test --release -p outpost-cli --test simulation -- --nocapture
	@cargo run --quiet -p outpost-cli -- image
	@OUTPOST_POLLERS_SECONDS=300 cargo test -p outpost-cli --test pollers -- --nocapture together::

fuzz:  ## fuzz every reader of what comes from outside, each for EACH=60 seconds
	@scripts/setup fuzz
	@scripts/fuzz $${EACH:-60}

miri:  ## the card's queue against a device that misbehaves, under Miri (nightly Rust): nothing undefined
	@scripts/setup miri
	@MIRIFLAGS="-Zmiri-permissive-provenance -Zmiri-ignore-leaks" cargo +nightly miri test -p outpost --test virtqueue

chaos:  ## the collector killed 100 times, the link cut for a minute, the guest reset
	@scripts/setup test
	@cargo run --quiet -p outpost-cli -- image
	@OUTPOST_CHAOS=long cargo test -p outpost-cli --test boot -- --nocapture chaos::

bench:  ## measure everything beside Linux + nginx and rsyslog (root; BENCH="image --boots 5")
	@scripts/setup bench
	@cargo build --quiet --release -p outpost-cli -p outpost-bench
	@cargo build-image --quiet --features small-pool
	@cp target/x86_64-unknown-none/image/image target/bench-small-pool.elf
	@target/release/outpost image --format qcow2
	@target/release/outpost-bench --peers $(BENCH)

# The tables one by one, without the peers.
bench-log:  ## measure the log alone: bytes per record, cost of one, records per second (root)
bench-http:  ## measure the HTTP interface alone: load by path, an attack (root)
bench-log bench-http:
	@scripts/setup bench
	@cargo build --quiet --release -p outpost-cli -p outpost-bench
	@target/release/outpost image
	@target/release/outpost-bench $(@:bench-%=%) $(BENCH)

image:  ## build dist/outpost.elf and its image id
	@scripts/setup run
	@cargo run -p outpost-cli -- image

dist:  ## what a release consists of, into dist/release (SIGN="--sign-with KEY")
	@scripts/setup dist
	@scripts/dist $(SIGN)

size:  ## build the image and show what its bytes are spent on
	@scripts/setup run
	@cargo run --quiet -p outpost-cli -- image
	@cargo run --quiet -p outpost-cli -- size
