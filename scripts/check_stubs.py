"""Compare each .pyi of the compiled core with the module that was built from its .pyx.

mypy's stubtest imports the module and asks whether the stub says the truth about it.
"""

import os
import subprocess
import sys
from pathlib import Path

SRC = Path(__file__).parents[1] / "src"


def main() -> int:
    """Run stubtest on every compiled module, and return its exit status."""
    sources = sorted(SRC.rglob("*.pyx"))
    modules = [".".join(source.relative_to(SRC).with_suffix("").parts) for source in sources]
    command = [sys.executable, "-m", "mypy.stubtest", *modules]
    # The stubs name what Python code calls. The rest of a module is for other compiled modules.
    command += ["--ignore-missing-stub"]
    # Nearly every compiled class is a "disjoint base"; nobody inherits from two of them.
    command += ["--ignore-disjoint-bases"]
    allowed = Path(__file__).with_name("stubtest_allowlist.txt")
    if allowed.exists():
        command += ["--allowlist", str(allowed)]
    return subprocess.run(command, env={**os.environ, "MYPYPATH": str(SRC)}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
