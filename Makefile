# Everything runs in .venv, which the first target that needs it creates.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV := $(VENV)/.dev
WHEEL := .wheel
LOWEST := .venv-lowest

.PHONY: help demo test coverage thorough corpus notebooks bench crash mutation docs check fix lowest dist wheel clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"

$(READY): $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[cli]"
	touch $@

$(DEV): $(READY)
	$(BIN)/python -m pip install --quiet --editable ".[cli,agents,heif]" --group dev
	touch $@

demo: $(READY)  ## make two images in the sandbox, and edit one of them by its id
	$(BIN)/python notebooks/demo.py

test: $(DEV)  ## run all tests
	$(BIN)/python -m pytest -n 2

coverage: $(DEV)  ## run all tests, and count which lines and branches they reach
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term-missing

thorough: $(DEV)  ## try five times as many generated examples, and 2,000 damaged images in each way
	$(BIN)/python -m pytest -n 2 -m hypothesis --hypothesis-profile=thorough
	MUTATIONS=2000 $(BIN)/python -m pytest -n 2 tests/integration_tests/test_mutated_images.py

corpus: $(DEV)  ## try every image file below DIR, and print what became of each kind
	$(BIN)/python -m tests.support.corpus.survey $(DIR)

notebooks: $(DEV)  ## run the notebooks against the sandbox, and keep their outputs
	cd notebooks && ../$(BIN)/python run.py

bench: $(DEV)  ## compare this package with others; writes docs/benchmarks.md
	$(BIN)/python benchmarks/run.py

crash: $(DEV)  ## kill each step of a paid call 20 times, and damage 3,000 stores
	CRASH_ROUNDS=20 MACHINE_STEPS=10000 DAMAGE_ROUNDS=3000 $(BIN)/python -m pytest -n 2 \
		tests/integration_tests/test_crash.py tests/integration_tests/test_damaged_store.py \
		tests/integration_tests/test_state_machine.py

mutation: $(DEV)  ## count the mistakes in code that decides about money that the tests notice
	$(BIN)/python -m pip install --quiet --group mutation
	$(BIN)/mutmut run
	$(BIN)/mutmut results

docs: $(READY)  ## build the documentation as a site, in site/
	$(BIN)/python -m pip install --quiet --group docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

check: $(DEV)  ## check format, lint, types, import rules and sizes; changes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest -q tests/unit_tests/test_shape.py

fix: $(DEV)  ## format the code, and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Use the lowest Python: newer ones find no wheels of versions this old. uv resolves to the lowest versions, pip cannot.
# What is installed would stay if it fits, so the environment is made anew.
$(LOWEST)/.ready: pyproject.toml
	rm -rf $(LOWEST)
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet "uv>=0.7"
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct \
		--editable ".[cli,agents,heif]" --group unit
	touch $@

# test_standard.py runs the suite of langchain-tests, which needs a newer httpx.
lowest: $(LOWEST)/.ready  ## run the unit tests and the demo on the lowest versions that pyproject.toml declares
	$(LOWEST)/bin/python -m pytest -n 2 --ignore=tests/unit_tests/test_standard.py tests/unit_tests
	$(LOWEST)/bin/python notebooks/demo.py

dist: $(BIN)/python  ## build the source package and the wheel, in dist/
	rm -rf dist
	$(BIN)/python -m pip install --quiet "build>=1.2"
	$(BIN)/python -m build

wheel: dist  ## install the built wheel in a new environment, and run the unit tests there without the source folder
	rm -rf $(WHEEL)
	$(PYTHON) -m venv $(WHEEL)/venv
	$(WHEEL)/venv/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(WHEEL)/venv/bin/python -m pip install --quiet "$$(ls dist/*.whl)[cli,agents,heif]" --group test
	cp -r tests pyproject.toml $(WHEEL)
	cd $(WHEEL) && venv/bin/python -m pytest -n 2 -m "not repository" tests/unit_tests

clean:  ## remove everything that the targets create
	rm -rf $(VENV) $(LOWEST) $(WHEEL) .bench dist site wan-images
