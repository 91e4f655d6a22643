"""Print what of src/meantime stays out of an installation, one relative path a line.

meson.build asks this at configuration time, because Meson's own lists know no patterns:

    python scripts/not_installed.py files          # the sources of the compiled modules
    python scripts/not_installed.py directories    # the caches that Python leaves behind
"""

import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "meantime"
COMPILED_SOURCES = (".pyx", ".h", ".c")


def not_installed_files() -> list[Path]:
    """Return the files that only the build needs."""
    return [path for path in PACKAGE.rglob("*") if path.suffix in COMPILED_SOURCES]


def not_installed_directories() -> list[Path]:
    """Return each package's cache, also one that does not exist yet."""
    packages = [PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir())]
    return [path / "__pycache__" for path in packages if path.name != "__pycache__"]


if __name__ == "__main__":
    listed = {"files": not_installed_files, "directories": not_installed_directories}
    for found in sorted(listed[sys.argv[1]]()):
        print(found.relative_to(PACKAGE).as_posix())
