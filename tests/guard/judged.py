"""Runs one program of the corpus under guard, and prints what was found: one JSON object a line.

python judged.py io_uring|epoll|asyncio|uvloop PROGRAM
"""

import asyncio
import json
import os
import runpy
import sys
import warnings

import meantime

THRESHOLD_S = 0.05


def show(finding):
    place = finding.place
    found = {
        "kind": finding.kind,
        "file": place and place.file,
        "line": place and place.line,
        "call": finding.call,
        "spent_s": finding.spent_s,
        "text": str(finding),
    }
    print("FOUND " + json.dumps(found), flush=True)
    if finding.kind == "deadlock":
        # It would never end by itself.
        os._exit(0)


def main():
    loop, program = sys.argv[1:]
    warnings.simplefilter("ignore")
    if loop == "uvloop":
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    elif loop != "asyncio":
        os.environ["MEANTIME_BACKEND"] = loop
        meantime.install()
    with meantime.guard(THRESHOLD_S, show):
        try:
            runpy.run_path(program, run_name="__main__")
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001
            print("ENDED", repr(error), flush=True)


if __name__ == "__main__":
    main()
