#!/bin/sh
# Run CPython's own asyncio tests on meantime, on both pollers and with its primitives, and judge the
# results.
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

# run NAME LOOP [the runner's options]
run() {
    name=$version-$1
    loop=$2
    shift 2
    rm -f "$results/$name.json"
    # The runner's own exit status speaks of every failure; the judge knows which are listed.
    "$python" "$runner" --python "$python" --loop "$loop" \
        --out "$results/$name.json" --log "$results/$name.log" "$@"
    [ -f "$results/$name.json" ] || exit 1
}

for backend in io_uring epoll; do
    export MEANTIME_BACKEND=$backend
    run "$backend" meantime:new_event_loop
done
unset MEANTIME_BACKEND
# And with gather, Queue, StreamReader and so on in the place of asyncio's.
run primitives meantime:new_event_loop --module-overlay meantime
run primitives-on-asyncio asyncio:SelectorEventLoop --module-overlay meantime
result="$results/$version"
"$python" "$here/judge.py" "$result-io_uring.json" "$result-epoll.json" \
    "$result-primitives.json" "$result-primitives-on-asyncio.json"
