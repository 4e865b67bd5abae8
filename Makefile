# One command for people and CI alike: `make check`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: quickstart check test fast lint lock clean

quickstart: $(VENV)/.installed  ## set up, then run the main job on the embedded model
	$(BIN)/sftrun apply recipes/quickstart.yaml

check: $(VENV)/.installed lint test  ## all that CI runs

lint: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(VENV)/.installed
	$(BIN)/pytest -n 2

$(VENV)/.installed: pyproject.toml requirements/local.txt requirements/dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/local.txt -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

lock: $(VENV)/.installed  ## write the tested versions of this environment into requirements/
	$(BIN)/python tools/lock.py

clean:
	rm -rf $(VENV) .sftrun build dist
