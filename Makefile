# Short names for the usual work; scripts/ does it. CLIP names the video for `make demo` (empty: the demo's own), FOR the seconds of `make fuzz`.

.PHONY: build setup test bench fuzz valgrind demo install clean help
CLIP ?=
FOR ?= 600
PREFIX ?= /usr/local

build: setup ## set up, then build the release command and libraries
	cargo build --release

setup: ## install system packages and libtorch (does nothing when they are there)
	@scripts/setup.sh

test: ## every check that a change must pass
	@scripts/setup.sh tests
	@scripts/check.sh

bench: setup ## speed of entropy coding and of the decoder
	cargo bench

fuzz: setup ## change streams, identities and packs at random for a time each: make fuzz FOR=600
	EFFIGY_FUZZ_SECONDS=$(FOR) cargo test --no-default-features -F analysis --release --test fuzz -- --ignored --nocapture

valgrind: setup ## the C programs under valgrind: minutes
	@scripts/valgrind.sh

demo: setup ## build, then encode and decode a clip and show the figures: make demo CLIP=face.mp4
	cargo build --release
	cargo run --release --quiet -- demo $(if $(CLIP),'$(CLIP)')

install: ## library, header, pkg-config file, command and pack: make install PREFIX=/usr/local (DECODER_ONLY=1: no encoder)
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' DECODER_ONLY='$(DECODER_ONLY)' scripts/install.sh

clean: ## remove build products and the demo's output; libtorch stays in the cache folder
	cargo clean
	rm -rf demo-out

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 16
