#!/bin/sh
# Where a question spends its time: perf on the child that answers it.
#
#   benchmarks/profile.sh echo_tcp --loop meantime-io_uring --connections 100 --seconds 5
#
# Writes build/perf.data beside this file and prints the heaviest symbols.
set -eu

if [ $# -lt 1 ]; then
    sed -n '2,6s/^# \{0,1\}//p' "$0"
    exit 2
fi
if ! command -v perf >/dev/null; then
    echo "perf is not installed (Debian: linux-perf)." >&2
    exit 1
fi

here=$(cd "$(dirname "$0")" && pwd)
question=$1
shift
mkdir -p "$here/build"
data="$here/build/perf.data"
perf record --quiet --freq 4000 -g --output "$data" -- \
    "${PYTHON:-python}" -X perf "$here/$question.py" "$@"
perf report --input "$data" --no-children --percent-limit 1 --stdio --call-graph none
