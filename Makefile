# `make` lists what there is. Needs Python 3.11 to 3.13 with venv; README says how without make.

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,\
    $(shell $(name) --version > /dev/null 2>&1 && command -v $(name))) python3)
# The release that the course is tested with; TORCH= keeps what the platform brings.
TORCH ?= torch==2.13.0
TIER ?= laptop
BIN := .venv/bin
INSTALLED := .venv/installed
# Two processes, each file's tests in one of them.
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadfile --doctest-modules \
    --durations=10 --durations-min=2

.PHONY: help setup course check test test-all static lab progress notebooks bench lock book class slides e2e clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED)  ## make the environment .venv, once

course: setup  ## execute the chapters, print the results (TIER=, CHAPTERS=03,05, KEEP_GOING=1, RECORD=1)
	$(BIN)/python -m notebooks.tools.run --tier $(TIER) $(if $(RECORD),--record) \
	    $(if $(CHAPTERS),--chapters $(CHAPTERS)) $(if $(KEEP_GOING),--keep-going)

check: static  ## the checks of a few minutes: all but the tests marked `slow` and the chapters
	$(PYTEST) -m "not slow" medr1_lib tests

test: static  ## everything that continuous integration checks
	$(PYTEST) medr1_lib tests
	$(BIN)/python -m notebooks.tools.validate

test-all: test  ## the same, and the solutions executed too
	$(BIN)/python -m notebooks.tools.validate --solutions

static: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m notebooks.tools.build --check

lab: setup  ## open JupyterLab on copies of the chapters that are yours, in work/
	$(BIN)/python -m notebooks.tools.lab --tier $(TIER)

progress: setup  ## say which exercises of your copies are open
	$(BIN)/python -m medr1_lib progress

notebooks: setup  ## build the notebooks from notebooks/_src, outputs included
	$(BIN)/python -m notebooks.tools.build

bench: setup  ## time a step of GRPO, TRL's and ours, and write the figures (JSON=FILE)
	$(BIN)/python -m benchmarks.speed.bench $(if $(JSON),--json $(JSON))

book:  ## build the Jupyter Book site (EDITION=class: no solutions; EDITION=solutions: all of them)
	EDITION=$(EDITION) PYTHON=$(PYTHON) bash book/build.sh

class: setup  ## write what a class gets, without solutions, as one zip file (OUT=FILE)
	$(BIN)/python -m notebooks.tools.classroom $(if $(OUT),--out $(OUT))

slides: setup  ## write slides of every chapter to _output/slides
	$(BIN)/python -m notebooks.tools.slides

e2e: setup  ## try JupyterLab and every page of the built site in Chromium (after make book)
	bash tests/e2e/run.sh

lock:  ## write requirements.lock anew; needs uv (https://docs.astral.sh/uv)
	@command -v uv > /dev/null || { echo "make lock needs uv: pip install uv"; exit 1; }
	uv pip compile pyproject.toml --extra dev --universal --fork-strategy fewest \
	    --python-version 3.11 --no-annotate --output-file requirements.lock \
	    --custom-compile-command "make lock"
	@# torch and its CUDA libraries are left to the platform.
	grep -vE '^(torch|triton|nvidia-|cuda-)' requirements.lock > requirements.part
	mv requirements.part requirements.lock

clean:  ## remove the environments and everything that was made
	rm -rf .venv .venv-book .venv-e2e _output book/_static/vendor .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(INSTALLED): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	    echo "The course needs Python 3.11 to 3.13, and $(PYTHON) is not. Where it lies elsewhere:"; \
	    echo "    make setup PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing into .venv: a few minutes, and 2 GB or more on disk."
	$(PYTHON) -m venv $(if $(TORCH),,--system-site-packages) .venv
	$(BIN)/python -m pip install --quiet $(TORCH) -r requirements.lock -e ".[dev]"
	$(BIN)/python -c "import matplotlib.font_manager"  # finds the fonts now, not in a notebook
	@touch $@
