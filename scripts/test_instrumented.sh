#!/bin/sh
# Run the tests on a core that was built to find faults, in an environment and a folder of its own.
#
#   sh scripts/test_instrumented.sh debug PYTHON [pytest's arguments]
#   sh scripts/test_instrumented.sh sanitize PYTHON [pytest's arguments]
#
# debug counts what is alive in the core: tests/conftest.py fails a test that leaves some of it.
# sanitize looks at every access to memory (AddressSanitizer) and at undefined arithmetic
# (UndefinedBehaviorSanitizer), in the tests, the fuzz and the soak. The first report ends the
# process that it is about; reports of every process are kept in build/sanitize, and fail the run.
set -eu

kind=$1
python=$2
shift 2
cd "$(dirname "$0")/.."
root=$PWD
venv=.venv-$kind
results=build/$kind/results

set_up() {
    if [ ! -e "$venv/.test" ]; then
        "$python" -m venv "$venv"
        "$venv/bin/python" -m pip install --quiet --upgrade 'pip>=25.1'
        "$venv/bin/python" -m pip install --quiet --group build --group test
        touch "$venv/.test"
    fi
    PATH=$root/$venv/bin:$PATH
    # Not editable: the preloaded sanitizer would look at the compiler as well.
    "$venv/bin/python" -m pip install --quiet --no-build-isolation --no-deps --force-reinstall \
        --config-settings=build-dir="build/$kind/core" --config-settings=setup-args=-Dcounters=true \
        "$@" .
}

# Python's own memory stays unlooked at where it leaks on purpose: LeakSanitizer would report what
# every interpreter keeps until it ends. `make leaks` looks for leaks instead.
sanitized() {
    LD_PRELOAD="$(cc -print-file-name=libasan.so) $(cc -print-file-name=libubsan.so)" \
    PYTHONMALLOC=malloc \
    ASAN_OPTIONS="detect_leaks=0:halt_on_error=1:abort_on_error=1:allocator_may_return_null=1:\
log_path=$root/$results/asan" \
    UBSAN_OPTIONS="halt_on_error=1:abort_on_error=1:print_stacktrace=1:log_path=$root/$results/ubsan" \
        "$@"
}

rm -rf "$results"
mkdir -p "$results"
case $kind in
    debug)
        set_up
        "$venv/bin/python" -m pytest "$@"
        ;;
    sanitize)
        set_up --config-settings=setup-args=-Db_sanitize=address,undefined \
            --config-settings=setup-args=-Db_lundef=false \
            --config-settings=setup-args=-Dbuildtype=debugoptimized
        status=0
        # Everything is some times slower, and faults of timing are not what is looked for.
        sanitized "$venv/bin/python" -m pytest --timeout 300 -o faulthandler_timeout=330 "$@" \
            || status=$?
        sanitized "$venv/bin/python" -m tests.fuzz --seconds 120 || status=$?
        sanitized "$venv/bin/python" tests/core/stress.py --seconds 60 || status=$?
        sanitized "$venv/bin/python" tests/soak.py --seconds 60 --growth-mib 1000 || status=$?
        for report in "$results"/*san.*; do
            [ -e "$report" ] || continue
            # A child on a stack of its own, on its way to another program, gets these three lines.
            grep -qvE "WARNING: ASan is ignoring requested __asan_handle_no_return|\
^False positive error reports may follow$|sanitizers/issues/189$" "$report" || continue
            echo "=== $report"
            cat "$report"
            status=1
        done
        [ "$status" -eq 0 ] && echo "no report of either sanitizer"
        exit "$status"
        ;;
    *)
        echo "usage: test_instrumented.sh debug|sanitize PYTHON [arguments]" >&2
        exit 2
        ;;
esac
