"""The threads without Python that work on files: no race between them and the loops."""

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CORE = HERE.parents[1] / "src/meantime/_core"
COMPILER = shutil.which("cc")
# What the sanitizer says where it cannot run: of an address space that is laid out in another way.
CANNOT = "unexpected memory mapping"


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")
@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_a_sanitizer_finds_nothing_in_the_pool(sanitizer, tmp_path):
    program = tmp_path / "races"
    made = subprocess.run(
        [
            *(COMPILER, "-g", "-O1", f"-fsanitize={sanitizer}", "-Wno-unused-function"),
            *("-I", sysconfig.get_path("include"), "-I", CORE),
            *(HERE / "pool_races.c", "-o", program, "-lpthread"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if "cannot find" in made.stderr:
        pytest.skip("the compiler has not got this sanitizer's library")
    assert made.returncode == 0, made.stderr
    done = subprocess.run(
        [program, tmp_path], capture_output=True, text=True, check=False, timeout=50
    )
    if CANNOT in done.stderr:
        pytest.skip("the sanitizer cannot run here")
    assert (done.stdout, done.stderr) == ("everything came back\n", "")
    assert done.returncode == 0
