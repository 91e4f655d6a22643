"""A job that leaves a note. It stands alone, so that a worker has it as soon as it is there."""

import time


def note_and_work(path, number, data, seconds):
    """Write down that this job was done, after some work."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    with open(path, "a") as file:  # noqa: PTH123 - pathlib loads slowly
        file.write(f"{number}\n")
    return number, data
