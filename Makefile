# Everything runs in .venv, which the first target that needs it creates.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV := $(VENV)/.dev

.PHONY: demo test notebooks bench crash mutation docs check fix clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"

$(READY): $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[cli]"
	touch $@

$(DEV): $(READY)
	$(BIN)/python -m pip install --quiet --editable ".[cli,agents]" --group dev
	touch $@

demo: $(READY)  ## make two images in the sandbox and edit one of them by its id
	$(BIN)/python notebooks/demo.py

test: $(DEV)
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term-missing

notebooks: $(DEV)  ## run the notebooks against the sandbox and keep their outputs
	cd notebooks && ../$(BIN)/python run.py

bench: $(DEV)  ## this package beside others, against a server on this machine; writes docs/benchmarks.md
	$(BIN)/python benchmarks/run.py

crash: $(DEV)  ## each step of a paid call is killed 20 times
	CRASH_ROUNDS=20 MACHINE_STEPS=10000 $(BIN)/python -m pytest -n 2 tests/integration_tests/test_crash.py \
		tests/integration_tests/test_state_machine.py

mutation: $(DEV)  ## how many mistakes in the code that decides about money the tests notice
	$(BIN)/python -m pip install --quiet --group mutation
	$(BIN)/mutmut run
	$(BIN)/mutmut results

docs: $(READY)  ## the documentation as a site, in site/
	$(BIN)/python -m pip install --quiet --group docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

check: $(DEV)  ## never edits; `make fix` does
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/unit_tests/test_shape.py

fix: $(DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .bench site wan-images
