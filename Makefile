# One environment, made once; every target finds it ready the second time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: env demo demo-docker test deep check bench clean

env: $(STAMP)

$(STAMP): pyproject.toml constraints.txt $(wildcard setup.py) $(wildcard src/splitbrain/cluster/rpc/*.proto)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/pip install -q -e ".[dev]"
	@touch $(STAMP)

demo: $(STAMP)
	@$(BIN)/splitbrain demo

demo-docker: $(STAMP)
	@$(BIN)/splitbrain image build
	@$(BIN)/splitbrain demo --on docker

test: $(STAMP)
	$(BIN)/pytest -n 3 -m "not deep"

deep: $(STAMP)
	$(BIN)/pytest -n 2 -m deep --timeout=3600

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

clean:
	rm -rf $(VENV) build dist src/*.egg-info
