# The platform's own commands; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest
# The files of tests go over the cores; those that take longest come first in the folders' order.
PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# What `llmaas lab env` exports is for clients of the lab's API. Our own programs ask package mirrors and servers of tests, and
# the file is gone with the lab.
ifneq ($(filter %/lab/pki/root.crt,$(SSL_CERT_FILE)),)
unexport SSL_CERT_FILE
endif

.PHONY: help
help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

.PHONY: up
up:  ## from nothing to a served API on this machine
	bin/llmaas lab up

.PHONY: down
down:  ## stop and remove everything that `make up` started
	bin/llmaas lab down

GATEWAY_FIGURES = $(or $(LLMAAS_CACHE),$(HOME)/.cache/llmaas)/gateway-figures.json

.PHONY: gateway-bench
gateway-bench: environment packages  ## measure what the gateway costs; best while the lab is down
	mkdir -p $(dir $(GATEWAY_FIGURES))
	PYTHONPATH=tests $(PYTHON) -m gateway.proxy.bench --json $(GATEWAY_FIGURES)

.PHONY: bench
bench: environment packages  ## measure the lab that runs, write docs/figures.md with the gateway's latest figures
	test -e $(GATEWAY_FIGURES) || $(MAKE) gateway-bench
	bin/llmaas lab bench --also $(GATEWAY_FIGURES)

.PHONY: environment
environment:
	@bin/bootstrap

.PHONY: packages
packages:  ## install the Debian packages that the lab and the tests use
	@bin/install-packages

.PHONY: lint
lint: environment  ## style, types, YAML and roles, in seconds
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/yamllint --strict .
	cd ansible && ../.venv/bin/ansible-lint --offline -q . ../lab/ansible/roles/*

.PHONY: unit
unit: environment packages  ## tests that need neither a lab nor the toolchain
	$(PYTEST) -q $(PARALLEL) tests/policies tests/unit tests/ansible

.PHONY: gateway-test
gateway-test: environment packages  ## prices, ledger and records against a real Redis and PostgreSQL
	$(PYTEST) -q $(PARALLEL) tests/gateway/proxy tests/gateway

.PHONY: standins-test
standins-test: environment packages  ## stand-ins against a real API server, kernel and engine (built if missing)
	bin/llmaas lab toolchain
	$(PYTEST) -q $(PARALLEL) tests/standins

.PHONY: emulated
emulated: environment packages  ## hardening and encrypted storage on hosts with kernels of their own (45 minutes)
	$(PYTEST) -q -s tests/emulated

.PHONY: check
check: lint unit gateway-test  ## lint, types and the tests that need neither lab nor toolchain

.PHONY: lab-test
lab-test: environment packages  ## the lab's own tests and its verification; brings the lab up if it is down
	bin/llmaas lab up
	$(PYTEST) -q tests/lab
	bin/llmaas verify -e lab

.PHONY: test
test: check standins-test lab-test  ## every test there is but the emulated hosts'
