# Every target makes what it needs. The first one to run creates .venv with the versions of constraints.txt; a stamp
# file in it makes the next call quick. VENV=/some/folder puts it elsewhere, PYTHON=python3.12 picks another Python.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
CHECK_PYTHON := import sys; sys.exit(sys.version_info < (3, 11) and "raydub needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=python3.11")
BENCH_OUT ?= bench-out
# Without bytecode files each of the processes that the tests start compiles raydub anew.
unexport PYTHONDONTWRITEBYTECODE
# Processes that share the test files of `make test`; each has at most one Ray of its own. Tests wait: three are faster on two cores.
WORKERS ?= 3
# Clips of real people for benches and tests, never part of the repository; without them benches use the demo's sample.
MEDIA ?= $(or $(RAYDUB_TEST_MEDIA),../shared/media)
CLIP ?= $(firstword $(wildcard $(MEDIA)/video/webcam_en_720p30.mp4) examples/demo/clip.mp4)
SPEECH ?= examples/demo/speech_es.flac
SCRIPT ?= examples/demo/lines_es.srt
# What the judge compares, on the speaking clips that training never saw (models/mouth/MODEL_CARD.md).
ENGINES ?= warp
KEPT_OUT ?= address_2_512_25.mp4,address_5_512_25.mp4,grid_2.mpg,studio_portrait_1080x1920_25.mp4,talk_retalking_5.mp4,webcam_en_720p30.mp4
# The demo's sample has no sound that could lie under the speech.
BED ?= $(if $(findstring examples/demo,$(CLIP)),none,duck)

# spandrel, beside which our networks are checked, imports a torchvision that fails beside a CPU torch: it gets an environment
# of its own and none of the packages that it asks for but these.
EQUIVALENCE ?= .venv-equivalence

.PHONY: demo test test-all equivalence faults lint format bench clean gpu-bundle

demo: $(VENV)/.runtime   ## dub the sample in two languages and say where the videos and the contact sheet are
	$(BIN)/raydub demo --output demo-out

test: $(VENV)/.dev       ## the test suite without what takes minutes or needs a GPU
	$(BIN)/python -m pytest -m "not slow and not gpu" -n $(WORKERS) --dist loadfile --durations 20

test-all: $(VENV)/.all   ## everything, with all examples of properties; what needs a GPU or the real clips says why it skips
	RAYDUB_TESTS_FULL=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

equivalence: $(EQUIVALENCE)/.ready   ## our networks beside spandrel's on the same weights, largest differences as JSON lines
	$(EQUIVALENCE)/bin/python -m pytest tests/equivalence

faults: $(VENV)/.dev     ## each fault of docs/faults.md, with outcome and seconds; FAULTS="1 11" for some of them
	$(BIN)/python -m tests.cluster_faults.table $(FAULTS)

lint: $(VENV)/.dev       ## style, types, and the floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev      ## the benchmarks one after another, figures as JSON in $(BENCH_OUT)
	@mkdir -p $(BENCH_OUT)
	$(BIN)/python bench/network.py --out $(BENCH_OUT)/network.json
	$(BIN)/python bench/track.py $(CLIP) > $(BENCH_OUT)/track.json
	$(BIN)/python bench/end_to_end.py --clip $(CLIP) --speech $(SPEECH) --random-wav2lip 1 > $(BENCH_OUT)/wav2lip.json
	$(BIN)/python bench/end_to_end.py --clip $(CLIP) --speech $(SPEECH) > $(BENCH_OUT)/warp.json
	$(BIN)/python bench/render.py --clip $(CLIP) --speech $(SPEECH) > $(BENCH_OUT)/render.json
	$(BIN)/python bench/speech.py --clip $(CLIP) --script $(SCRIPT) --bed $(BED) > $(BENCH_OUT)/speech.json
	$(BIN)/python bench/upscale.py --out $(BENCH_OUT)/upscale.json
	$(BIN)/python bench/restore.py --out $(BENCH_OUT)/restore.json
	@if [ -d "$(MEDIA)/video" ]; then set -x; $(BIN)/python bench/judge.py --clips $(MEDIA)/video --only $(KEPT_OUT) --engines $(ENGINES) --out $(BENCH_OUT)/judge > /dev/null; \
	else echo "bench/judge.py skipped: no real clips in $(MEDIA), set RAYDUB_TEST_MEDIA"; fi

$(VENV)/bin/python:
	@$(PYTHON) -c '$(CHECK_PYTHON)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[openvino,espeak,report]'
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(PIP) --editable '.[openvino,espeak,piper,kokoro,report,ui,c2pa,label,dev]'
	@touch $@

$(VENV)/.all: $(VENV)/.dev
	$(PIP) --editable '.[openvino,espeak,piper,kokoro,report,ui,c2pa,label,cluster,dev]'
	@touch $@

$(EQUIVALENCE)/.ready: constraints.txt
	@$(PYTHON) -c '$(CHECK_PYTHON)'
	$(PYTHON) -m venv $(EQUIVALENCE)
	@echo '*' > $(EQUIVALENCE)/.gitignore
	$(EQUIVALENCE)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	torch numpy safetensors hypothesis pytest pytest-timeout einops==0.8.2
	$(EQUIVALENCE)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps spandrel==0.4.2
	@touch $@

clean:
	rm -rf build dist demo-out bench-out .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis .benchmarks

gpu-bundle: $(VENV)/.runtime   ## all that bench/gpu/run.sh needs on a GPU machine without a network, in pieces of 45 MB
	$(BIN)/python bench/gpu/bundle.py --out gpu-bundle
