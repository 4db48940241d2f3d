# The commands of this project; `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export HOST ?= 127.0.0.1
export PORT ?= 8000

.DEFAULT_GOAL := help
.PHONY: help run test test-several check bench format lock

help: ## List the commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: $(VENV)/installed .venv-sandbox/installed ## Serve on http://$HOST:$PORT (default 127.0.0.1:8000)
	@exec $(BIN)/python manage.py serve

test: $(VENV)/installed-for-tests .venv-sandbox/installed ## Run the suite, browser and services included
	@PYTHON=$(BIN)/python tests/needs.sh
	$(BIN)/python -m pytest

test-several: $(VENV)/installed-for-tests .venv-sandbox/installed ## Run of it the journeys and faults of a site of several processes
	@PYTHON=$(BIN)/python tests/needs.sh
	$(BIN)/python -m pytest -m several_processes

check: $(VENV)/installed-for-tests ## Formatter, linter, types, import rules, migrations, deployment
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python manage.py makemigrations --check --dry-run
	AGENT_BEHIND_TLS=true $(BIN)/python manage.py check --deploy --fail-level WARNING

bench: $(VENV)/installed-for-tests ## Measure, print tables, write var/bench.json; BENCH="--quick" takes a few minutes
	$(BIN)/python -m tests.bench $(BENCH)

format: $(VENV)/installed-for-tests ## Format and sort
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# For every Python and every kind of machine, each file with its hash: what is installed is what was locked.
LOCK = $(BIN)/uv pip compile --universal --generate-hashes --upgrade --quiet --no-header --no-annotate

lock: $(VENV)/installed ## Write the exact versions of everything into the requirements files
	$(LOCK) pyproject.toml -o requirements.txt
	$(LOCK) --group pyproject.toml:test -c requirements.txt -o tests/requirements.txt
	$(LOCK) --group pyproject.toml:sandbox -o chat/tools/sandbox/requirements.txt
	$(LOCK) --group pyproject.toml:installer -o .ci/installer.txt

# uv installs in seconds what takes pip half a minute; where it can't be had, pip does.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .ci/installer.txt

INSTALL = if [ -x $(BIN)/uv ]; then $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes $(1); \
	else $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes $(1); fi

$(VENV)/installed: requirements.txt | $(VENV)/bin/python
	@echo "Installing what the site needs into $(VENV)…"
	@$(call INSTALL,-r requirements.txt)
	@touch $@

$(VENV)/installed-for-tests: requirements.txt tests/requirements.txt | $(VENV)/bin/python
	@echo "Installing what tests and checks need into $(VENV)…"
	@$(call INSTALL,-r requirements.txt -r tests/requirements.txt)
	@touch $@ $(VENV)/installed

# What runs inside the sandbox has an environment of its own, which the sandbox sees and cannot write.
.venv-sandbox/installed: chat/tools/sandbox/requirements.txt | $(VENV)/installed
	@echo "Installing what the sandbox needs into .venv-sandbox…"
	@$(BIN)/python -c "from chat.tools.sandbox.install import install; install()"
	@touch $@
