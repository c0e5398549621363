# make quickstart: a real search, its ranked table, and its page (runs/quickstart.html). make test: the fast tests. Both make .venv first.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: install quickstart test lint types slow clean

install: .venv/.installed

$(BIN)/python:
	@echo "Creating .venv ..."
	@$(PYTHON) -m venv .venv

.venv/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing adamtune and its dependencies (a minute or two) ..."
	@$(PIP) -e .
	@touch $@

.venv/.dev: .venv/.installed
	@echo "Installing the development tools ..."
	@$(PIP) -e '.[dev]'
	@touch $@

quickstart: install
	$(BIN)/adamtune search configs/quickstart.yaml --report runs/quickstart.html

test: .venv/.dev
	$(BIN)/python -m pytest -n 2

slow: .venv/.dev
	$(BIN)/python -m pytest -n 2 -m slow

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.dev
	$(BIN)/mypy

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache
