"""The table `known.toml`, read once."""

from __future__ import annotations

import tomllib
from pathlib import Path

TABLE = tomllib.loads(Path(__file__).with_name("known.toml").read_text())

HARMLESS_BUILTINS = frozenset(TABLE["builtins"].split())
HARMLESS_MODULES = frozenset(TABLE["modules"].split())
CLOCKS = frozenset(TABLE["clocks"].split())
HARMLESS_WAITS = frozenset(TABLE["waits"].split())
READING_METHODS = frozenset(TABLE["reading_methods"].split())
SHAREABLE = {name: frozenset(methods.split()) for name, methods in TABLE["shareable"].items()}
CHANGING_METHODS = frozenset(TABLE["changing_methods"].split())
