# Thin: a target is a script that also runs by itself, or one cargo command. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run test test-browser screenshots bench api-check aws-check gate-check deploy-check install-check upgrade-check load-check stack-up stack-down clean-stack fmt lint deny

# Handed on to the test runner, the benchmarks and schemathesis: make test ARGS="-p messaging"
ARGS ?=

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r name text; do printf '%-20s %s\n' "$$name" "$$text"; done

run: ## the whole system and a first message; Ctrl-C stops it (PROFILE=release, ONCE=1)
	@exec deploy/dev/run

test: ## all tests against private servers (ARGS="-p messaging", KEEP_STACK=1)
	@exec deploy/dev/test $(ARGS)

test-browser: ## the pages in a real Chromium, which is installed if need be (ARGS="-- device")
	@exec deploy/dev/test-browser $(ARGS)

screenshots: ## a picture of every page, light and dark, wide and phone, into target/screenshots/
	@exec deploy/dev/test-browser screenshots $(ARGS)

bench: ## benchmarks of what is deployed, some five minutes after a long build (ARGS="mixed sending", ARGS=proxy, ARGS=bridge, ARGS=pages, ARGS=--help)
	@exec deploy/dev/bench $(ARGS)

api-check: ## what channel-service answers against its OpenAPI document, by schemathesis (ARGS=…)
	@exec deploy/dev/api-check $(ARGS)

aws-check: ## references to AWS Secrets Manager and files in S3, against moto
	@exec deploy/dev/aws-check

gate-check: ## the gate against published clients of Meta's Cloud API
	@exec deploy/dev/gate-check

upgrade-check: ## this tree in the place of an older release, under load; builds that one (ARGS=v1.2.0; the newest tag)
	@exec deploy/dev/upgrade-check $(ARGS)

load-check: ## 500 messages a second through what is deployed, while each service is stopped and replaced (ARGS=v1.2.0: by this tree)
	@exec deploy/dev/load-check $(ARGS)

deploy-check: ## compose files, Kubernetes manifests, systemd units, the Dockerfile and shell scripts (ARGS="units", ARGS="binaries target/dist")
	@exec deploy/dev/deploy-check $(ARGS)

install-check: ## a stranger follows OPERATIONS.md in a bare Debian that boots systemd; root, six minutes after a long build (ARGS=DIR)
	@exec deploy/dev/install-check $(ARGS)

stack-up: ## only the servers; they stay until stack-down (addresses: . .stack/env)
	@exec deploy/dev/stack up

stack-down: ## stop the servers, keep the data
	@exec deploy/dev/stack down

clean-stack: ## stop the servers and remove .stack with all data
	@exec deploy/dev/stack clean

fmt: ## format the code
	cargo fmt --all

lint: ## clippy, warnings are errors
	cargo clippy --workspace --all-targets -- -D warnings

deny: ## licences, bans and sources of the dependencies
	cargo deny check --hide-inclusion-graph bans licenses sources
