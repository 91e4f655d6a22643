"""Seeing what a program does in the meantime: how long it waits, for how much at once, and why."""
