#!/bin/sh
# Run CPython's own asyncio tests on meantime, on both pollers, and judge the results.
#
#   sh tests/conformance/run.sh .venv/bin/python path/to/run_cpython.py
#
# The runner is not part of this project: it takes --python, --loop and --out, runs each test module
# of Lib/test/test_asyncio in a process of its own, and writes a JSON file of outcomes.

python=$1
runner=$2
here=$(dirname "$0")

if [ -z "$runner" ] || [ ! -f "$runner" ]; then
    echo "there is no conformance runner at '$runner'." >&2
    echo "  why: CPython's asyncio tests are run by a program that is kept apart from meantime." >&2
    echo "  what to do: make conformance CPYTHON_RUNNER=path/to/run_cpython.py" >&2
    exit 2
fi

results=.conformance
mkdir -p "$results"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

for backend in io_uring epoll; do
    out=$results/$version-$backend.json
    rm -f "$out"
    # The runner's own exit status speaks of every failure; the judge knows which are listed.
    MEANTIME_BACKEND=$backend "$python" "$runner" --python "$python" \
        --loop meantime:new_event_loop --out "$out" --log "$results/$version-$backend.log"
    [ -f "$out" ] || exit 1
done
"$python" "$here/judge.py" "$results/$version-io_uring.json" "$results/$version-epoll.json"
