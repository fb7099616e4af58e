# make demo: the main job on synthetic ECGs.  make test: the tests.  make check: all that CI runs.
# make docs: the documentation site, in build/site; warnings are errors.
# make bounds: a part of the tests with the lowest and the newest dependencies, on each Python.
# make lock: write the locks anew, from pyproject.toml.  make audit: look the locked packages up for known vulnerabilities.
# Each target installs what it needs into .venv once, and again after a change of pyproject.toml or of the lock.
PY ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

TOOLS := build/tools
# Wheel of torch without CUDA, as torch's own index has it for CPython 3.11 on x86-64. Change it with torch's version.
TORCH_CPU := sha256:6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b

.PHONY: $(VENV) demo test check lint docs ui clean lock audit bounds
$(VENV): $(VENV)/.stamp

# The locks name every package with the hashes of its files, so nothing else is looked up. torch is locked apart: the build
# without CUDA is installed where an index that pip knows has it, and otherwise that of the package index, with what it needs.
LOCKED := $(BIN)/pip install -q --require-hashes --no-deps
$(VENV)/.stamp: pyproject.toml requirements.lock requirements-cpu.lock requirements-cuda.lock
	$(PY) -m venv $(VENV)
	$(LOCKED) -r requirements.lock
	$(LOCKED) -r requirements-cpu.lock 2>/dev/null || $(LOCKED) -r requirements-cuda.lock
	$(BIN)/pip install -q --no-deps --no-build-isolation -e .
	$(BIN)/pip check
	touch $@

demo: $(VENV)/.stamp
	rm -rf $(DEMO)/run $(DEMO)/report
	mkdir -p $(DEMO)
	cd $(DEMO) && ../$(BIN)/ecgmtl train --config ../configs/quick.yaml --out run
	cd $(DEMO) && ../$(BIN)/ecgmtl evaluate run/model.safetensors --data data/synthetic/prepared --split test --out report
	cd $(DEMO) && ../$(BIN)/ecgmtl predict run/model.safetensors data/synthetic/records/records100/00000/0000*_lr.hea --out predictions.csv
	@echo "Look at $(DEMO)/report/reconstruction.png and $(DEMO)/predictions.csv; 'cd $(DEMO) && ../$(BIN)/ecgmtl ui' shows the run."

test: $(VENV)/.stamp
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

docs: $(VENV)/.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open build/site/index.html; it needs neither a server nor a network."

ui: $(VENV)/.stamp
	$(BIN)/ecgmtl ui

# Versions are kept as far as pyproject.toml allows; delete a line of the lock to have the newest version of that package.
lock: $(TOOLS)/.stamp
	cat requirements.lock requirements-cuda.lock > build/all.lock
	UV_CUSTOM_COMPILE_COMMAND='make lock' $(TOOLS)/bin/uv pip compile -q pyproject.toml --extra test --extra docs \
	  --universal --python-version 3.11 --generate-hashes --no-annotate -o build/all.lock
	awk '/^[a-z]/ {cuda = /^(cuda|nvidia)-|^(torch|triton)==/} {print > (cuda ? "requirements-cuda.lock" : "requirements.lock")} \
	  /^torch==/ {print $$1 "+cpu --hash=$(TORCH_CPU)" > "requirements-cpu.lock"}' build/all.lock

# Tests of the lowest and the newest versions that pyproject.toml allows, and of each Python that is here. It takes a while and
# some gigabytes, so continuous integration leaves it out.
BOUNDS := lowest-direct-3.11 highest-3.11 highest-3.12 highest-3.13
BOUNDS_TESTS := tests/data_prep/readers/test_dicom.py tests/data_prep/readers/test_edf.py tests/data_prep/readers/test_npz.py \
  tests/data_prep/readers/test_stack.py tests/data_prep/test_convert_stack.py \
  tests/data_prep/store/test_open.py tests/config/test_parse.py tests/test_checkpoint.py tests/inference/test_predictor.py tests/metrics tests/model/forest \
  tests/cli/test_main_job.py::test_a_small_quick_run_gives_the_golden_figures
PYTHON_OF = $(lastword $(subst -, ,$*))
bounds: $(BOUNDS:%=bounds-%)
bounds-%: $(TOOLS)/.stamp
	@if $(TOOLS)/bin/uv venv -q --clear --no-python-downloads --python $(PYTHON_OF) build/$@; then \
	  $(TOOLS)/bin/uv pip install -q --python build/$@ --resolution $(patsubst %-$(PYTHON_OF),%,$*) -e '.[onnx,hdf5]' && \
	  $(TOOLS)/bin/uv pip freeze -q --exclude-editable --python build/$@ > build/$@.txt && \
	  $(TOOLS)/bin/uv pip install -q --python build/$@ -c build/$@.txt pytest hypothesis beartype && \
	  build/$@/bin/python -m pytest -W default $(BOUNDS_TESTS); \
	else echo "$@: skipped, there is no Python $(PYTHON_OF) here"; fi

# It fails where a package could not be looked up, as without a network.
audit: $(TOOLS)/.stamp
	$(TOOLS)/bin/pip-audit --strict --disable-pip -r requirements.lock -r requirements-cuda.lock

$(TOOLS)/.stamp:
	$(PY) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install -q pip-audit uv
	touch $@

clean:
	rm -rf $(VENV) $(DEMO) build .pytest_cache .mypy_cache .ruff_cache
