"""Whose line it is: the user's own code, the standard library's, or another package's."""

from __future__ import annotations

import functools
import linecache
import os
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from meantime.guard.findings import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import CodeType

    # From the innermost frame on: code, index of the last instruction, line.
    Frames = list[tuple[CodeType, int, int | None]]

# A chain of awaits that is longer is cut.
AWAITS_MAX = 100
# Of a coroutine, an asynchronous generator and a generator: its frame, and what it awaits.
AWAITING = (("cr_frame", "cr_await"), ("ag_frame", "ag_await"), ("gi_frame", "gi_yieldfrom"))

PACKAGE = str(Path(__file__).parents[1]) + os.sep
GUARD = str(Path(__file__).parent) + os.sep
STANDARD = tuple(
    {sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib")}
    | {str(Path(os.__file__).parent) + os.sep}
)
PACKAGES = tuple({sysconfig.get_path(name) + os.sep for name in ("purelib", "platlib")})
FOREIGN_FOLDERS = ("site-packages", "dist-packages")

# A debugger holds the loop because somebody wants it to.
DEBUGGERS = ("pdb.py", "bdb.py")
DEBUGGER_FOLDERS = ("debugpy", "pydevd", "_pydevd_bundle", "ipdb", "pudb")

COMMAND = "<string>"
# What is typed in at a prompt or in a notebook.
TYPED = ("<stdin>", "<python-input", "<ipython-input", "<console>")

IMPORTING = "<frozen importlib"


@functools.cache
def is_own(file: str) -> bool:
    """Return whether a file is the user's, not Python's, a package's, or ours."""
    if file == COMMAND:
        # The program of -c; else something that a library has made, such as a dataclass.
        return not hasattr(sys.modules["__main__"], "__file__")
    if file.startswith("<"):
        return file.startswith(TYPED)
    if file.startswith((PACKAGE, *PACKAGES, *STANDARD)) or not file.endswith((".py", ".pyw")):
        # Jupyter's cells lie in files of their own, with names that end in .py.
        return False
    return not any(folder in FOREIGN_FOLDERS for folder in Path(file).parts)


@functools.cache
def is_debugger(file: str) -> bool:
    """Return whether a file belongs to a debugger."""
    parts = Path(file).parts
    return parts[-1:] in {(name,) for name in DEBUGGERS} or any(
        folder in DEBUGGER_FOLDERS for folder in parts
    )


def source_at(file: str, line: int) -> str:
    """Return the text of a line, or nothing."""
    return linecache.getline(file, line).strip()


def place_of(code: CodeType, line: int | None) -> Place:
    """Return where a frame stands."""
    number = line or code.co_firstlineno
    return Place(code.co_filename, number, code.co_qualname, source_at(code.co_filename, number))


def place_of_origin(coroutine: Any) -> Place | None:
    """Return where a coroutine was made, if Python was told to remember it."""
    origin = getattr(coroutine, "cr_origin", None)
    if not origin:
        return None
    for file, line, function in origin:
        if is_own(file):
            return Place(file, line, function, source_at(file, line))
    file, line, function = origin[0]
    return Place(file, line, function, source_at(file, line))


def made_at(task: Any) -> Place | None:
    """Return where the coroutine of a task was made: nearly always where the task was."""
    return place_of_origin(task.get_coro()) if hasattr(task, "get_coro") else None


def within_loop(frames: Frames) -> Frames:
    """Return the frames that the loop runs, without those that run the loop."""
    for index, (code, _, _) in enumerate(frames):
        if code.co_name == "run_forever" and not is_own(code.co_filename):
            return frames[:index]
    return frames


def is_ours(frames: Frames) -> bool:
    """Return whether it is guard itself that takes long."""
    for code, _, _ in frames:
        if code.co_filename.startswith(GUARD):
            return True
        if is_own(code.co_filename):
            return False
    return False


def own_frame(frames: Frames) -> int | None:
    """Return the index of the innermost frame of the user's own code, or None."""
    for index, (code, _, _) in enumerate(frames):
        if is_own(code.co_filename):
            return index
    return None


def without_imports(frames: Frames) -> Frames:
    """Return the frames outside of an import that goes on: what is imported is not to blame."""
    for index in range(len(frames) - 1, -1, -1):
        if frames[index][0].co_filename.startswith(IMPORTING):
            return frames[index + 1 :]
    return frames


def is_importing(frames: Frames) -> bool:
    """Return whether a module is being imported."""
    return any(code.co_filename.startswith(IMPORTING) for code, _, _ in frames)


def frames_of_stack(frame: Any) -> Iterator[tuple[CodeType, int]]:
    """Yield the code and line of a frame and of those that called it."""
    while frame is not None:
        yield frame.f_code, frame.f_lineno
        frame = frame.f_back


def own_place(stack: Iterable[tuple[CodeType, int]]) -> Place | None:
    """Return the innermost place of the user's own code."""
    for code, line in stack:
        if is_own(code.co_filename):
            return place_of(code, line)
    return None


def awaits_of(coroutine: Any) -> list[tuple[CodeType, int, int]]:
    """Return where a suspended coroutine stands, from the innermost await on.

    As tuples of a code object, the index of its last instruction and the line.
    """
    frames = [frame for _, frame in links_of_awaits(coroutine)]
    return [(frame.f_code, frame.f_lasti, frame.f_lineno) for frame in frames][::-1]


def links_of_awaits(coroutine: Any) -> Iterator[tuple[Any, Any]]:
    """Yield a suspended coroutine and its frame, then the same of what it awaits, and so on."""
    for _ in range(AWAITS_MAX):
        for to_frame, to_awaited in AWAITING:
            frame = getattr(coroutine, to_frame, None)
            if frame is not None:
                yield coroutine, frame
                coroutine = getattr(coroutine, to_awaited, None)
                break
        else:
            return


def waits_at(task: Any) -> Place | None:
    """Return the user's line at which a task waits, else the innermost one."""
    chain = awaits_of(task.get_coro()) if hasattr(task, "get_coro") else []
    own = own_place((code, line) for code, _, line in chain)
    if own is not None or not chain:
        return own
    return place_of(chain[0][0], chain[0][2])


def module_of(file: str) -> str | None:
    """Return the name of the module that was loaded from a file."""
    for name, module in tuple(sys.modules.items()):
        if issubclass(type(module), ModuleType) and names_in(module).get("__file__") == file:
            return name
    return None


def names_in(module: ModuleType) -> dict[str, Any]:
    """Return a module's names, and leave one that is loaded when it is first used as it is."""
    names: dict[str, Any] = object.__getattribute__(module, "__dict__")
    return names
