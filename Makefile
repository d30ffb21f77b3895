# Everything a newcomer types. `make run` and `make test` need Python 3.11+ and make, nothing else.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP_INSTALL := $(PY) -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes

.PHONY: install run local test test-local check lock openapi screenshots browser clean

install: $(VENV)/.installed

run: $(VENV)/.installed
	@exec $(PY) manage.py up

# With a real model on this machine beside the sandbox; LOCAL_MODEL=/path/to/model.gguf serves another than the packaged one.
local: $(VENV)/.installed-local
	@exec $(PY) manage.py up --local

test: $(VENV)/.installed-dev browser
	$(PY) -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

# With SmolLM2 itself: some minutes. `make test` runs the same parts with a tiny model.
test-local: $(VENV)/.installed-dev $(VENV)/.installed-local
	$(PY) -m pytest -s tests/evaluations/local/smollm2.py

check: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/djangofmt --check templates
	$(VENV)/bin/oxlint --deny-warnings static/js
	$(VENV)/bin/mypy .
	cd client && ../$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PY) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	$(PY) manage.py spectacular --validate --fail-on-warn | diff -u openapi.yaml - \
	  || { echo "openapi.yaml is out of date: run 'make openapi' and read the difference"; exit 1; }

# The tests in tests/browser drive the system's Chromium. Where it is missing and cannot be installed here, those tests
# fail and say how to get it.
CHROMIUM := chromium chromium-browser google-chrome google-chrome-stable
browser:
	@for name in $(CHROMIUM); do command -v $$name >/dev/null && exit 0; done; [ -n "$$CHROMIUM" ] && exit 0; \
	command -v apt-get >/dev/null || { echo "No Chromium is installed; tests/browser will say how to get it."; exit 0; }; \
	root=""; [ "$$(id -u)" = 0 ] || root="sudo -n"; \
	echo "Installing Chromium for the browser tests"; \
	{ $$root apt-get update -qq && $$root apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1 \
	  || echo "Chromium could not be installed; tests/browser will say how to get it."

screenshots: $(VENV)/.installed-dev browser
	$(PY) docs/screenshots/make.py

openapi: $(VENV)/.installed-dev
	$(PY) manage.py spectacular --validate --fail-on-warn --file openapi.yaml

# The locks are resolved from pyproject.toml for every platform and Python we support. They are complete, so that
# nothing beyond them is installed (see [tool.uv] there).
EXTRAS := --extra embedded --extra embeddings
COMPILE = $(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
  --custom-compile-command "make lock" --python-version 3.11 $(EXTRAS)
lock: $(VENV)/.installed
	$(PY) -m pip --disable-pip-version-check install --quiet uv
	$(COMPILE) pyproject.toml -o requirements.lock
	$(COMPILE) --extra local pyproject.toml -c requirements.lock -o requirements-local.lock
	$(COMPILE) --extra dev pyproject.toml -c requirements-local.lock -o requirements-dev.lock

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Cuebook needs Python 3.11 or newer; say which with PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock | $(VENV)/bin/python
	$(PIP_INSTALL) -r requirements.lock
	@touch $@

$(VENV)/.installed-local: requirements-local.lock $(VENV)/.installed
	$(PIP_INSTALL) -r requirements-local.lock
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(PIP_INSTALL) -r requirements-dev.lock
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
