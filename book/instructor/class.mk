# `make` lists what there is.

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,\
    $(shell $(name) --version > /dev/null 2>&1 && command -v $(name))) python3)
TORCH ?= torch==2.13.0
TIER ?= laptop
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: help setup lab course progress

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED)  ## make the environment .venv, once

lab: setup  ## open JupyterLab on your own copies of the chapters, in work/
	$(BIN)/python -m notebooks.tools.lab --tier $(TIER)

course: setup  ## execute the chapters as they were handed out (CHAPTERS=03,05)
	$(BIN)/python -m notebooks.tools.run --tier $(TIER) $(if $(CHAPTERS),--chapters $(CHAPTERS))

progress: setup  ## say which exercises are open
	$(BIN)/python -m medr1_lib progress

$(INSTALLED): pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(TORCH) -r requirements.lock -e ".[dev]"
	@touch $@
