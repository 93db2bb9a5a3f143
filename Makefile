# The commands of a checkout. Each sees by itself that what it needs is installed (scripts/setup).
.DEFAULT_GOAL := help
.PHONY: help run test soak image

# Arguments for `outpost up`: make run ARGS="--port 8081 --machine q35"
ARGS ?=

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

run:  ## build the image, boot it in QEMU, show its events; Ctrl-C ends it
	@scripts/setup run
	@cargo run -p outpost-cli -- up $(ARGS)

test:  ## every check and every test, at most 10 minutes after the build
	@scripts/setup test
	@scripts/test

soak:  ## the simulation with many more seeds (SEEDS=20000)
	@scripts/setup test
	@OUTPOST_SEEDS=$${SEEDS:-20000} cargo test --release --test simulation -- --nocapture

image:  ## build dist/outpost.elf and its image id
	@scripts/setup run
	@cargo run -p outpost-cli -- image
