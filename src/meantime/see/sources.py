"""The source of what has run: the tree of a file, and the node that an instruction came from."""

from __future__ import annotations

import ast
import linecache
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from types import CodeType

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Place: TypeAlias = tuple[int, int]


@dataclass
class Source:
    """A file's tree: its functions by their first line, its awaits by line and column."""

    functions: dict[int, list[FunctionNode]] = field(default_factory=dict)
    awaits: dict[Place, ast.Await] = field(default_factory=dict)
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)

    def add(self, tree: ast.AST) -> None:
        """Enter all nodes below this one."""
        for node in ast.walk(tree):
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node
            if isinstance(node, ast.Await):
                self.awaits[node.lineno, node.col_offset] = node
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                for line in {node.lineno, first_line(node)}:
                    self.functions.setdefault(line, []).append(node)


def first_line(node: FunctionNode) -> int:
    """Return the line of a function's first decorator, or of the function."""
    decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


class Sources:
    """The files of a program, each read when it is first asked for."""

    def __init__(self) -> None:
        self.files: dict[str, Source | None] = {}

    def of_file(self, file: str, names: dict[str, Any] | None = None) -> Source | None:
        """Return the source of a file; None when it cannot be had.

        Args:
            file: its name, as the code has it.
            names: the globals of its module, whose loader may have the source.
        """
        if file not in self.files:
            self.files[file] = read(file, names)
        return self.files[file]

    def function(self, code: CodeType, names: dict[str, Any]) -> FunctionNode | None:
        """Return the function that the code was made of."""
        source = self.of_file(code.co_filename, names)
        if source is None:
            return None
        for node in source.functions.get(code.co_firstlineno, ()):
            if getattr(node, "name", "<lambda>") == code.co_name:
                return node
        return None

    def awaits(self, code: CodeType, names: dict[str, Any]) -> dict[int, ast.Await]:
        """Return which instruction belongs to which await."""
        source = self.of_file(code.co_filename, names)
        found = {}
        if source is not None:
            for index, (line, _, column, _) in enumerate(code.co_positions()):
                node = source.awaits.get((line or 0, -1 if column is None else column))
                if node is not None:
                    found[2 * index] = node
        return found


def read(file: str, names: dict[str, Any] | None) -> Source | None:
    """Return a file's source, as it was when the program began to show it or as it is now."""
    text = "".join(linecache.getlines(file, names))
    if not text:
        return None
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None  # it has been changed since, or was made by a tool
    source = Source()
    source.add(tree)
    return source
