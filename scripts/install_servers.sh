#!/bin/sh
# Install the servers that the ecosystem tests talk to, and what else is named (such as wrk, which
# the benchmarks use), where that is possible without a question: as root on a machine with apt-get.
# Elsewhere what needs one of them is skipped and says how to get it.

missing=""
command -v redis-server >/dev/null 2>&1 || missing="$missing redis-server"
command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 ||
    missing="$missing postgresql"
for program in "$@"; do
    command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
done

[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "not installed:$missing (what needs them is skipped)"
    exit 0
fi

echo "installing$missing"
# Only the programs are wanted: each test starts a server of its own on a free port, so the
# package's service stays off.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
apt-get update -qq && apt-get install -qq -y --no-install-recommends $missing >/dev/null ||
    echo "could not install$missing (what needs them is skipped)"
