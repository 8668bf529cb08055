# brindle's front door: `make help` lists the words. What each does stands in scripts/.
#
# On a fresh Debian or Ubuntu machine `make demo` and `make test` install what is missing
# (as root, or by sudo), and both may be run again and again.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test lint deny bench fuzz build manifests image install-deps

help: ## Show these words
	@echo "brindle: BGP routes for a cluster's nodes. Begin with: make demo"
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 22

demo: ## Build, run a cluster of 3 nodes and a router on this machine, look around (KEEP=1 leaves it up)
	@scripts/demo

test: ## Run all tests, those against BIRD, FRR and GoBGP included; names what was skipped
	@scripts/test

lint: ## Formatting, clippy with warnings as errors, documentation, fuzz targets
	@scripts/lint

deny: ## Licences, sources and duplicates of dependencies; advisories where they can be fetched
	@scripts/deny

bench: ## Measure codec, RIB and policy engine, brindle beside BIRD and GoBGP, packets through rules
	@scripts/bench

fuzz: ## Run each fuzz target for a minute (SECONDS_EACH=60; KEEP=1 adds what it finds to the corpus)
	@scripts/fuzz

build: ## Build the program into target/debug
	@scripts/need rust
	@scripts/need packages build
	cargo build --locked

manifests: ## Render deploy/kubernetes/install.yaml from its parts
	@scripts/render-manifests

image: ## Build the container image brindle:VERSION (IMAGE=NAME for another name), with docker or podman
	@scripts/image

install-deps: ## Only install what the other words need
	@scripts/need rust
	@scripts/need packages all
