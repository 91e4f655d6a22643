"""A Python program as `python` itself would run it: its own __main__, arguments and path.

`runpy` does nearly this. It puts the former __main__ back when the program's code has run to its
end, though, and then atexit functions, threads and pickles look into the wrong module.
"""

from __future__ import annotations

import builtins
import importlib.machinery
import importlib.util
import io
import sys
import types
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# Where Python's own messages and tracebacks say what the code of -c is.
COMMAND_NAME = "<string>"


class ProgramError(Exception):
    """There is no such program; `exit_status` is the one that python has for it."""

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


@dataclass
class Program:
    """A program that can be run once, in this process."""

    name: str  # sys.argv[0]
    first_path: str  # sys.path[0]
    source: bytes | str | types.CodeType
    globals: dict[str, Any] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)

    def with_arguments(self, arguments: Sequence[str]) -> Program:
        """Return the program itself, which will find these in sys.argv."""
        self.arguments = list(arguments)
        return self

    def run(self) -> None:
        """Run the program to its end as the process's __main__.

        Raises:
            BaseException: whatever the program did not catch. The traceback that is printed begins
                with the program's own frames.
        """
        module = types.ModuleType("__main__")
        module.__dict__.update({"__builtins__": builtins, **self.globals})
        sys.modules["__main__"] = module
        sys.argv[:] = [self.name, *self.arguments]
        replace_first_path(self.first_path)
        try:
            code = self.source
            if not isinstance(code, types.CodeType):
                file_name = self.globals.get("__file__", COMMAND_NAME)
                code = compile(code, file_name, "exec", dont_inherit=True)
            exec(code, module.__dict__)
        except SystemExit:
            raise
        except BaseException as error:
            print_without_our_frames(error)
            raise


def from_path(script: str) -> Program:
    """Return the program in a file, or in a directory or zip file with a __main__ module.

    Raises:
        ProgramError: it cannot be read.
    """
    place = Path(script)
    if place.is_dir() or (place.is_file() and zipfile.is_zipfile(place)):
        directory = str(place.absolute())
        replace_first_path(directory)
        program = from_module("__main__", container=script)
        program.name, program.first_path = script, directory
        return program
    full_name = str(place.absolute())
    try:
        with io.open_code(full_name) as file:
            source = file.read()
    except OSError as error:
        raise ProgramError(
            f"can't open file {full_name!r}: [Errno {error.errno}] {error.strerror}. "
            "Check the name, or use -m for a module.",
            2,
        ) from error
    # Python takes the directory that the script really lies in, through links.
    directory = str(place.resolve().parent)
    loader = importlib.machinery.SourceFileLoader("__main__", full_name)
    attributes = {
        "__file__": full_name,
        "__cached__": None,
        "__loader__": loader,
        "__package__": None,
        "__spec__": None,
    }
    return Program(script, directory, source, attributes)


def from_code(code: str) -> Program:
    """Return the program that is the text itself."""
    attributes = {
        "__loader__": importlib.machinery.BuiltinImporter,
        "__package__": None,
        "__spec__": None,
    }
    return Program("-c", "", code + "\n", attributes)


def from_module(name: str, container: str | None = None) -> Program:
    """Return the program in a module, or in the __main__ module of a package.

    Raises:
        ProgramError: there is no such module, or it has no code to run.
    """
    if container is None:
        replace_first_path(str(Path.cwd()))
    spec = find(name)
    if spec is not None and spec.submodule_search_locations is not None:
        name = f"{name}.__main__"
        spec = find(name)
        if spec is None:
            raise ProgramError(
                f"No module named {name}; {name.removesuffix('.__main__')!r} is a package and "
                "cannot be directly executed. Name one of its modules.",
                1,
            )
    if spec is None:
        where = f"can't find '__main__' module in {container!r}" if container else ""
        raise ProgramError(
            f"{where or f'No module named {name}'}. "
            "Check the name, and that it is installed in this Python or in this directory.",
            1,
        )
    loader: Any = spec.loader
    code = loader.get_code(spec.name) if hasattr(loader, "get_code") else None
    if code is None:
        raise ProgramError(
            f"No code object available for {name}: it is not written in Python. "
            "Name a module that is.",
            1,
        )
    attributes = {
        "__file__": spec.origin,
        "__cached__": spec.cached,
        "__loader__": loader,
        "__package__": spec.parent,
        "__spec__": spec,
    }
    return Program(spec.origin or name, str(Path.cwd()), code, attributes)


def find(name: str) -> importlib.machinery.ModuleSpec | None:
    """Return where a module is, or None. Its parent packages are imported on the way.

    Raises:
        ProgramError: a parent package cannot be imported, or the name is no name.
    """
    if name == "__main__":
        # Ours is in sys.modules, and has no spec of its own.
        sys.modules.pop("__main__", None)
    try:
        return importlib.util.find_spec(name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ProgramError(
            f"Error while finding module specification for {name!r} "
            f"({type(error).__name__}: {error}). Check the name: it is dotted, without .py.",
            1,
        ) from error


def replace_first_path(path: str) -> None:
    """Put the program's directory where the one of our own command stands.

    With -P or PYTHONSAFEPATH Python puts none there, and the first entry is a real one.
    """
    if not sys.flags.safe_path and sys.path:
        sys.path[0] = path


def print_without_our_frames(error: BaseException) -> None:
    """Let the traceback that Python is about to print begin in the program.

    The exception goes on to the interpreter, which prints it by sys.excepthook and ends as it does
    for every program: by exit status 1, or by SIGINT after a KeyboardInterrupt.
    """
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
        traceback = traceback.tb_next
    print_error = sys.excepthook

    def print_shortened(
        kind: type[BaseException], value: BaseException, full: types.TracebackType | None
    ) -> None:
        if value is error:
            value.__traceback__ = full = traceback
        print_error(kind, value, full)

    sys.excepthook = print_shortened
