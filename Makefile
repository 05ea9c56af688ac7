# Every target works alone and as the first command: what it needs is installed into $(VENV) before it runs, and
# installed again only when pyproject.toml or constraints.txt changes.
#
#   make demo      a teacher, its student, its int8, the measurements and the report: runs/quickstart
#   make test      the tests           make slow     those that take minutes
#   make lint      ruff                make types    mypy, strict
#   make results   every measured claim of benchmarks/results, and the tables of the pages from them
#   make clean     drop caches and the virtual environment; runs/ stays
#
# PYTHON=python3.12 and VENV=elsewhere choose the interpreter and the place; ARGS goes to pytest or to `compress run`.

PYTHON ?= python3
VENV ?= .venv
RECIPE ?= configs/recipes/quickstart.yaml
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -qq -c constraints.txt
OFFLINE := HF_HUB_OFFLINE=1
CODE := compress teachers tests benchmarks

.PHONY: demo test slow lint types format results install develop clean help
.DEFAULT_GOAL := help

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/.installed-train
	@$(OFFLINE) $(BIN)/compress run $(RECIPE) $(ARGS)

# A worker for each core, each with one thread: workers that share cores would wait for each other inside every product.
test: $(VENV)/.installed-test
	$(OFFLINE) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

slow: $(VENV)/.installed-test
	$(OFFLINE) $(BIN)/python -m pytest -m slow $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

types: $(VENV)/.installed-dev
	$(BIN)/mypy

results:
	@$(PYTHON) -m benchmarks.show
	@$(PYTHON) -m benchmarks.readme

install: $(VENV)/.installed-train

develop: $(VENV)/.installed-dev

# The interpreter is checked before anything is made, and torch is there before anything that depends on it.
$(VENV)/.torch: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "Stillroom needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 | head -n 1)." >&2; \
	    echo "Name another interpreter: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	    echo "'$(PYTHON) -m venv' failed: install your system's venv package (python3-venv) and try again." >&2; \
	    rm -rf $(VENV); exit 2; }
	@echo "Installing torch into $(VENV) (minutes, the first time) ..."
	@$(PIP) torch
	@touch $@

$(VENV)/.installed-%: $(VENV)/.torch pyproject.toml constraints.txt
	@echo "Installing stillroom[$*] into $(VENV) (minutes, the first time) ..."
	@$(PIP) --editable ".[train,$*]"
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
