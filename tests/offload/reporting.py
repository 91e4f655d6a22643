"""Functions for workers to run that need meantime there: they report, or are decorated."""

import os

import meantime


def count_to(number):
    for step in range(number):
        meantime.report_progress(step, number)
    return number


@meantime.offload(where="process")
def decorated(number):
    """Return who runs this, and a number."""
    return os.getpid(), number


class Holder:
    def __init__(self, number):
        self.number = number

    @meantime.offload(where="process", timeout=30)
    def add(self, other):
        return os.getpid(), self.number + other
