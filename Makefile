.PHONY: help demo play test lint docs bench faults paper paper-quick clean
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev,metaworld,sweeps,ray,console,devices,exchange,hardware]'
	touch $@

demo: .venv/installed  ## a weak lander learns from interventions, in minutes
	$(BIN)/python src/train.py experiment=lunarlander

play: .venv/installed  ## teach a lander in the browser: three rounds, in which you fly
	$(BIN)/python src/train.py experiment=play

test: .venv/installed  ## prove that it works
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal

lint: .venv/installed  ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	mkdir -p .venv/typing/mile
	ln -sfn $(CURDIR)/src/* $(addprefix $(CURDIR)/,datamodules callbacks hardware configs checkpoints) .venv/typing/mile
	$(BIN)/pyright

.venv/documented: .venv/installed
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

docs: .venv/documented  ## build the documentation into site/; a dead link fails
	mkdir -p .venv/typing/mile
	ln -sfn $(CURDIR)/src/* $(addprefix $(CURDIR)/,datamodules callbacks hardware configs checkpoints) .venv/typing/mile
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

bench: .venv/installed  ## speed, as ratios within one run
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/run.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/buffer.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/starting.py

faults: .venv/installed  ## kill, starve and corrupt a short run, in every way we know
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults

paper: .venv/installed  ## Fig. 3, 4 and 5 again: all methods, all tasks, five seeds; hours, goes on where it stopped
	$(BIN)/mile-paper outputs/paper

paper-quick: .venv/installed  ## a small part of that
	$(BIN)/mile-paper --plan quick outputs/paper_quick

clean:  ## remove the environment and all caches
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .hypothesis
