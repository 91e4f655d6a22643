# The front door. Each target sets up what it needs in $(VENV), once, and then does one thing.
#
#   make demo                                       the examples, on meantime
#   make test                                       all tests
#   make test ARGS='-k timers -x'                   some of them
#   make test PYTHON=python3.13 VENV=.venv-3.13     on another Python

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
SECONDS ?= 30

BIN := $(abspath $(VENV))/bin
# Each environment compiles in a folder of its own, such as build/venv-3.13.
BUILD_DIR := build/$(patsubst .%,%,$(notdir $(VENV)))
# The compiled part is rebuilt at the next import by the meson and ninja of this environment.
export PATH := $(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test test-next bench lint format build soak faults conformance servers clean
.PHONY: fuzz stress leaks test-debug sanitize

help:
	@sed -n 's/^#   //p' Makefile
	@echo "targets: demo test test-next test-debug sanitize bench lint format build"
	@echo "         soak faults fuzz stress leaks conformance clean"

demo: $(VENV)/.test
	$(BIN)/python scripts/demo.py

test: $(VENV)/.test servers
	$(BIN)/python -m pytest $(ARGS)

# On the Pythons that this machine lacks, out of Debian's coming release. Its Pythons may be new to
# CPYTHON_RUNNER, if that is named: then it first finds out which of their tests it can judge.
test-next:
	@$(PYTHON) scripts/test_next.py $(if $(CPYTHON_RUNNER),--conformance "$(CPYTHON_RUNNER)") $(ARGS)

bench: $(VENV)/.bench
	@sh scripts/install_servers.sh wrk
	$(BIN)/python benchmarks/run.py $(ARGS)

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/cython-lint src
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python scripts/check_stubs.py

format: $(VENV)/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Imports meantime, which compiles what has changed, and shows the compiler's output. A loop is made,
# because without the compiled core meantime would quietly run on asyncio's.
build: $(VENV)/.build
	MESONPY_EDITABLE_VERBOSE=1 $(BIN)/python -W error -c \
		"import meantime; meantime.new_event_loop().close(); print('meantime runs on', meantime.backend())"

soak: $(VENV)/.test
	$(BIN)/python tests/soak.py --seconds $(SECONDS) $(ARGS)

# As soak, while the core's system calls fail by a plan: tests/faults/run.py. Needs a C compiler.
faults: $(VENV)/.test
	$(BIN)/python tests/faults/run.py --seconds $(SECONDS) $(ARGS)
# What no argument and no order may do to the core: crash or hang it. ARGS='--seed 7' repeats a run.
fuzz: $(VENV)/.test
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(ARGS)

stress: $(VENV)/.test
	$(BIN)/python tests/core/stress.py --seconds $(SECONDS) $(ARGS)

leaks: $(VENV)/.test
	$(BIN)/python tests/core/leaks.py $(ARGS)

# All tests on a build that counts what is alive, which tests/conftest.py then looks at.
test-debug: servers
	sh scripts/test_instrumented.sh debug "$(PYTHON)" $(ARGS)

# All tests, the fuzz and the soak on a build that stops at every bad access; see the script.
sanitize: servers
	sh scripts/test_instrumented.sh sanitize "$(PYTHON)" $(ARGS)

# CPython's own asyncio tests. CPYTHON_RUNNER is the program that runs them on a given event loop.
conformance: $(VENV)/.test
	sh tests/conformance/run.sh $(BIN)/python "$(CPYTHON_RUNNER)"

servers:
	@sh scripts/install_servers.sh

# --- What the targets stand on: one stamp file each, so that a second call is quick ---------------

$(VENV)/.python:
	@sh scripts/check_machine.sh "$(PYTHON)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.build: pyproject.toml $(VENV)/.python
	$(BIN)/python -m pip install --quiet --group build
	$(BIN)/python -m pip install --quiet --no-build-isolation --config-settings=build-dir=$(BUILD_DIR) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.build
	$(BIN)/python -m pip install --quiet --group test
	@touch $@

$(VENV)/.lint: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --group lint
	@touch $@

$(VENV)/.bench: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --group bench
	@touch $@

clean:
	rm -rf build .conformance $(VENV) .venv-debug .venv-sanitize
