# make quickstart: a real search, and its ranked table. make test: the fast tests. Both make .venv first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install quickstart test lint types slow clean

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

quickstart: install
	$(BIN)/adamtune search configs/quickstart.yaml

test: install
	$(BIN)/python -m pytest -n 2

slow: install
	$(BIN)/python -m pytest -n 2 -m slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache
