# Every target makes what it needs. The first one to run creates .venv with the versions of constraints.txt; a stamp
# file in it makes the next call quick. VENV=/some/folder puts it elsewhere, PYTHON=python3.12 picks another Python.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
BENCHES := network track end_to_end foreign_audio
BENCH_OUT ?= bench-out

.PHONY: demo test test-all lint format bench clean

demo: $(VENV)/.runtime   ## dub the sample in two languages and say where the videos and the contact sheet are
	$(BIN)/raydub demo --output demo-out

test: $(VENV)/.dev       ## the test suite without what takes minutes or needs a GPU
	$(BIN)/python -m pytest -m "not slow and not gpu"

test-all: $(VENV)/.dev   ## everything; what needs a GPU or the real clips says why it skips
	$(BIN)/python -m pytest

lint: $(VENV)/.dev       ## style, types, and the floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev      ## the benchmarks one after another; figures as JSON in $(BENCH_OUT)
	@mkdir -p $(BENCH_OUT)
	@set -e; for name in $(BENCHES); do \
	  echo "bench/$$name.py -> $(BENCH_OUT)/$$name.json"; $(BIN)/python bench/$$name.py > $(BENCH_OUT)/$$name.json; done

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "raydub needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[openvino]'
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(PIP) --editable '.[openvino,dev]'
	@touch $@

clean:
	rm -rf build dist demo-out bench-out .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis .benchmarks
