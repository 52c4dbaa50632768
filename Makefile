# Berth's commands. `make run` and `make test` need git, make and Python 3.11 or later, nothing else.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin

# A virtual environment whose Python has been upgraded away cannot even be installed into: it is made anew.
$(shell test ! -e $(BIN)/pip || $(BIN)/python -c '' 2>/dev/null || rm -rf .venv)

.PHONY: run test lint types unit slow docs bench soak package deploy deploy-local pins clean

run: .venv/local.stamp
	@exec $(BIN)/python -m infra.local.run

# Workers begin with a stretch of the tests each, so that few functions start in more than one local cloud, and take from
# each other when they are done. How many: tests/conftest.py.
WORKERS = -n auto --dist worksteal

test: lint types unit

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/dev.stamp
	$(BIN)/mypy

unit: .venv/dev.stamp
	$(BIN)/pytest $(WORKERS)

slow: .venv/dev.stamp
	$(BIN)/pytest $(WORKERS) -m slow

docs: .venv/dev.stamp
	$(BIN)/python -m tests.api.table
	$(BIN)/python -m tests.infra.settings_page

bench: .venv/dev.stamp
	$(BIN)/python -m tests.bench $(ARGS)

soak: .venv/dev.stamp
	$(BIN)/pytest -m soak
	BERTH_SOAK_SECONDS=600 $(BIN)/pytest tests/soak

package: .venv/local.stamp
	$(BIN)/python -m infra.package

deploy: .venv/local.stamp
	$(BIN)/python -m infra.deploy $(ARGS)

deploy-local: run

# The pins of every package and their hashes, from the *.in files, for all Pythons and platforms (docs/decisions/pins.md).
PINS = $(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --custom-compile-command "make pins"
pins: .venv/dev.stamp
	$(PINS) requirements-dev.in -o requirements-dev.txt
	for name in requirements-local requirements-relay requirements; do \
		$(PINS) -c requirements-dev.txt $$name.in -o $$name.txt || exit 1; done

clean:
	rm -rf .venv build

# pip is the last thing that venv puts in place: without it the folder was left half made.
.venv/bin/pip:
	@test -n "$(PYTHON)" || { echo "berth: Python 3.11 or later is needed, and no python3 here is one"; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo "berth: $(PYTHON) cannot make a virtual environment: install its venv module (Debian: python3-venv)"; exit 1; }

INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -q -r $< || { \
	echo "berth: the packages of $< could not be installed: see above, and run make again"; exit 1; }

.venv/local.stamp: requirements-local.txt | .venv/bin/pip
	@echo "berth: installing what it needs into .venv (once, a minute or two)"
	@$(INSTALL)
	@touch $@

.venv/dev.stamp: requirements-dev.txt .venv/local.stamp
	@echo "berth: installing what the tests need into .venv (once, a minute or two)"
	@$(INSTALL)
	@touch $@
