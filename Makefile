# make build   set up a virtual environment, build specs/ into generated/, verify every op, print the table
# make test    the same environment, then linters, types and all tests
# make test-install  wheel, sdist and editable install, each in a fresh environment
# make docs    the site of the documentation, into site/: open site/index.html
# make test-oldest   all tests with the oldest Triton that fusec supports, with which the gate compiles then
#
# Variables:
#   PYTHON       the Python to start from (default: the first of 3.11 or later found)
#   VENV         the environment to use (default: .venv); an existing one is kept and completed
#   CONSTRAINTS  pinned versions (default: constraints.txt); empty takes the newest that pip finds
#   JOBS         processes (default: all cores)

VENV ?= .venv
CONSTRAINTS ?= constraints.txt
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

BIN := $(VENV)/bin
READY := $(VENV)/.fusec-ready

.PHONY: build test test-install test-oldest docs lint check clean
.DEFAULT_GOAL := build

build: $(READY)
	$(BIN)/fusec build specs/ --out generated --verify --strict --jobs $(JOBS)

test: lint
	$(BIN)/pytest -n $(JOBS) --dist worksteal

test-install: $(READY)
	FUSEC_TEST_INSTALL=$(abspath $(VENV))/constraints.txt $(BIN)/pytest -n0 tests/install

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "site/index.html"

OLDEST := $(VENV)/triton-oldest
OLDEST_TRITON := $(shell sed -n 's/.*"triton>=\([0-9.]*\)".*/\1/p' pyproject.toml)

test-oldest: $(READY) $(OLDEST)
	PYTHONPATH=$(OLDEST) $(BIN)/pytest -n $(JOBS) --dist worksteal

$(OLDEST): pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
		--target $@ 'triton==$(OLDEST_TRITON)'
	@touch $@

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: $(READY)
	$(BIN)/fusec build specs/ --out generated --check --jobs $(JOBS)

clean:
	rm -rf $(VENV)

# A machine whose Python already has a torch that sees a GPU keeps that torch and its triton.
$(READY): pyproject.toml $(CONSTRAINTS)
	@test -n "$(PYTHON)" || { echo "fusec needs Python 3.11 or later; name one: make build PYTHON=/path/to/python" >&2; exit 1; }
	@if $(PYTHON) -c 'import torch, triton; assert torch.cuda.is_available()' 2>/dev/null; then \
		echo "using the torch of $(PYTHON)"; flags=--system-site-packages; own='^(torch|triton)=='; \
	else \
		flags=; own='^$$'; \
	fi; \
	set -e; \
	test -x $(BIN)/python || $(PYTHON) -m venv $$flags $(VENV) || \
		{ echo "no venv module? on Debian: apt-get install python3-venv" >&2; exit 1; }; \
	grep -vE "$$own" $(CONSTRAINTS) /dev/null -h > $(VENV)/constraints.txt || true; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint $(VENV)/constraints.txt --editable '.[test,dev,docs]'
	@touch $@
