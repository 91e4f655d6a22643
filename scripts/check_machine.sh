#!/bin/sh
# Say what this machine lacks for building meantime, before a build fails half-way.
#
#   sh scripts/check_machine.sh python3

python=$1

refuse() {
    printf 'meantime cannot be built here: %s\n  why: %s\n  what to do: %s\n' "$1" "$2" "$3" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 || refuse \
    "there is no program named $python." \
    "meantime needs CPython 3.11 or newer." \
    "Install it (Debian: apt-get install python3), or name another: make PYTHON=python3.13"

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || refuse \
    "$python is $("$python" --version 2>&1)." \
    "meantime needs CPython 3.11 or newer." \
    "Name a newer one: make PYTHON=python3.13 VENV=.venv-3.13"

"$python" -c 'import venv, ensurepip' 2>/dev/null || refuse \
    "$python has no venv module." \
    "Everything is installed into a virtual environment, and Debian packs that apart." \
    "apt-get install python3-venv"

# Elsewhere nothing is compiled: meantime is plain Python on asyncio's own loop.
[ "$(uname -s)" = Linux ] || exit 0

command -v "${CC:-cc}" >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 || refuse \
    "there is no C compiler." \
    "The core of the loop is compiled." \
    "Install one (Debian: apt-get install gcc), or set CC to yours."

headers=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
[ -f "$headers/Python.h" ] || refuse \
    "$headers/Python.h is missing." \
    "The core of the loop is compiled against the headers of $python." \
    "Install them (Debian: apt-get install python3-dev)."
