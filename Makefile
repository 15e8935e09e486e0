# Everything happens in .venv inside the checkout, built by plain pip. `make PYTHON=python3.12 demo` takes another Python.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test test-slow check fix clean

demo: .venv/.embedded  ## make clips, score them, print the table
	@$(BIN)/avbench demo

test: .venv/.dev  ## everything that is quick: under 10 minutes on two cores; a process for each CPU, in which further threads would only wait
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadgroup -m "not slow"

test-slow: .venv/.dev  ## kills, worker counts, networks in full size
	@$(BIN)/python -m pytest -m slow

check: .venv/.dev  ## what a change must pass before its tests are run
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(PIP) check

fix: .venv/.dev  ## what can be mended by itself
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf .venv build dist *.egg-info

# One file a set of packages, as old as the last time that it was installed. The time is that of about 1.6 GB with torch's CPU build.
.venv/.embedded: pyproject.toml setup.py | .venv
	@echo "Installing avbench[embedded] into .venv: one to three minutes, nothing is printed until it is done."
	@$(PIP) install -qq --editable ".[embedded]"
	@touch $@

.venv/.dev: pyproject.toml setup.py | .venv
	@echo "Installing avbench[embedded,metrics,generate,dev] into .venv: two to five minutes, nothing is printed until it is done."
	@$(PIP) install -qq --editable ".[embedded,metrics,generate,dev]"
	@touch .venv/.embedded $@

.venv:
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }
