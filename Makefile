# make demo: the main job on synthetic ECGs.  make test: the tests.  make check: all that CI runs.
# make docs: the documentation site, in build/site; warnings are errors.
# Each target installs what it needs into .venv once, and again after a change of pyproject.toml.
PY ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

.PHONY: demo test check lint docs ui clean
$(VENV)/.stamp: pyproject.toml constraints.txt
	$(PY) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e '.[test]'
	touch $@

demo: $(VENV)/.stamp
	rm -rf $(DEMO)/run $(DEMO)/report
	mkdir -p $(DEMO)
	cd $(DEMO) && ../$(BIN)/ecgmtl train --config ../configs/quick.yaml --out run
	cd $(DEMO) && ../$(BIN)/ecgmtl evaluate run/model.safetensors --data data/synthetic/prepared --split test --out report
	cd $(DEMO) && ../$(BIN)/ecgmtl predict run/model.safetensors data/synthetic/records/records100/00000/0000*_lr.hea --out predictions.csv
	@echo "Look at $(DEMO)/report/reconstruction.png and $(DEMO)/predictions.csv; 'cd $(DEMO) && ../$(BIN)/ecgmtl ui' shows the run."

test: $(VENV)/.stamp
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

docs: $(VENV)/.stamp-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open build/site/index.html; it needs neither a server nor a network."

$(VENV)/.stamp-docs: $(VENV)/.stamp
	$(BIN)/pip install -q -c constraints.txt -e '.[docs]'
	touch $@

ui: $(VENV)/.stamp
	$(BIN)/ecgmtl ui

clean:
	rm -rf $(VENV) $(DEMO) .pytest_cache .mypy_cache .ruff_cache
