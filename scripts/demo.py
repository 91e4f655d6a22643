"""Run the examples on meantime, one after the other, each under a headline."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
# first_steps and kitchen are plain asyncio programs: meantime runs them unchanged. The others
# import meantime themselves.
RUN = [sys.executable, "-m", "meantime", "run"]
PYTHON = [sys.executable]

DEMOS = [
    ("One task that waits (plain asyncio, unchanged)", RUN, ["first_steps.py"]),
    ("Three tasks that wait together: 3 s, not 6", RUN, ["kitchen.py"]),
    ("200 web requests, one by one and all at once", PYTHON, ["fetch_many.py"]),
    ("200 web pages fetched, read and stored in SQLite, all at once", PYTHON, ["pipeline.py"]),
    ("A heavy function in another process, while the clock ticks", PYTHON, ["offload.py"]),
    ("100 files read, while the clock ticks", PYTHON, ["files.py"]),
    ("A chat server and three guests in one program", PYTHON, ["chat.py"]),
]


def main() -> int:
    """Run every demo, and return how many failed."""
    failed = 0
    for title, command, (script, *arguments) in DEMOS:
        shown = "meantime run" if command is RUN else "python"
        print(f"\n=== {title} ===\n$ {shown} examples/{script}\n", flush=True)
        completed = subprocess.run([*command, str(EXAMPLES / script), *arguments], check=False)
        if completed.returncode != 0:
            print(f"examples/{script} ended with exit status {completed.returncode}")
            failed += 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
