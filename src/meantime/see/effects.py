"""What a call touches that another call may touch as well, as far as the source shows.

The answer is meant for a suggestion, and a wrong suggestion is worse than none. So whatever cannot
be seen through counts as touching everything: `Effects.is_unknown`.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import types
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from meantime.see.known import (
    CHANGING_METHODS,
    CLOCKS,
    HARMLESS_BUILTINS,
    HARMLESS_MODULES,
    HARMLESS_WAITS,
    READING_METHODS,
)
from meantime.see.places import is_own
from meantime.see.values import FRESH, Kind, Value, asks_only, value_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meantime.see.sources import FunctionNode, Sources

CALL_DEPTH_MAX = 6


@dataclass
class Effects:
    """What is read and written of the things that others may use; each by its key."""

    reads: set[tuple[Any, ...]] = field(default_factory=set)
    writes: set[tuple[Any, ...]] = field(default_factory=set)
    names: set[str] = field(default_factory=set)  # of the function around, read by one inside it
    is_unknown: bool = False
    asks_the_time: bool = False  # by itself, not in what it calls

    def may_disturb(self, other: Effects) -> bool:
        """Return whether the order of this one and the other may matter."""
        if self.is_unknown or other.is_unknown:
            return True
        return meet(self.writes, other.reads | other.writes) or meet(other.writes, self.reads)


def meet(some: Iterable[tuple[Any, ...]], others: Iterable[tuple[Any, ...]]) -> bool:
    """Return whether one of these is one of those, or a part of it, or has it as a part."""
    return any(one[: len(two)] == two[: len(one)] for one in some for two in others)


@dataclass
class Scope:
    """What names mean in a function."""

    local: dict[str, Value]  # its own, as far as they are known
    bound: set[str]  # all of its own; what is not known was made by itself
    names: dict[str, Any]  # its module's
    closure: dict[str, Value]  # those of the function around it


def effects_of(node: ast.AST, scope: Scope, sources: Sources) -> Effects:
    """Return what running this node touches, with all that it calls."""
    walk = Walk(scope, sources, Effects(), 0)
    walk.visit(node)
    return walk.effects


def bound_names(node: ast.AST) -> set[str]:
    """Return all names that are given a value anywhere in a function."""
    found = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and not isinstance(inner.ctx, ast.Load):
            found.add(inner.id)
        elif isinstance(inner, ast.arg):
            found.add(inner.arg)
        elif isinstance(
            inner, (ast.ExceptHandler, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        ):
            found.add(inner.name or "")
        elif isinstance(inner, (ast.Import, ast.ImportFrom)):
            found.update((alias.asname or alias.name).split(".")[0] for alias in inner.names)
    return found


class Walk(ast.NodeVisitor):
    """Goes through a function's body and the bodies of what it calls."""

    def __init__(self, scope: Scope, sources: Sources, effects: Effects, depth: int) -> None:
        self.scope = scope
        self.sources = sources
        self.effects = effects
        self.depth = depth

    # ---- what an expression refers to

    def value(self, node: ast.AST) -> Value | None:
        """Return what kind of thing an expression gives; None when that is not to be seen."""
        if isinstance(node, ast.Name):
            return self.named(node.id)
        if isinstance(node, ast.Attribute):
            return self.attribute(self.value(node.value), node.attr)
        if isinstance(node, ast.Subscript):
            whole = self.value(node.value)
            if whole is None or whole.kind in (Kind.FRESH, Kind.PLAIN):
                return whole
            return Value(Kind.OBJECT, None, whole.key)
        if isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp, ast.Compare, ast.UnaryOp)):
            return Value(Kind.PLAIN)
        return FRESH if isinstance(node, (ast.Call, ast.Await, ast.List, ast.Dict)) else None

    def named(self, name: str) -> Value | None:
        """Return what a name refers to."""
        scope = self.scope
        if name in scope.local:
            return scope.local[name]
        if name in scope.bound:
            return FRESH
        if name in scope.closure:
            self.effects.names.add(name)
            return scope.closure[name]
        if name in scope.names:
            found = scope.names[name]
            return value_of(found)
        if hasattr(builtins, name):
            return Value(Kind.CALLABLE, getattr(builtins, name))
        return None

    def attribute(self, owner: Value | None, name: str) -> Value | None:
        """Return what an attribute of a value refers to."""
        if owner is None or owner.kind is Kind.FRESH:
            return owner
        if owner.kind is Kind.CALLABLE:
            if isinstance(owner.thing, types.ModuleType):
                if name not in vars(owner.thing):
                    return None
                found = vars(owner.thing)[name]
                return value_of(found)
            found = inspect.getattr_static(owner.thing, name, None)
            found = getattr(found, "__func__", found)
            return None if found is None else value_of(found)
        if owner.kind is Kind.OBJECT and owner.thing is not None:
            if name in owner.parts:
                return owner.parts[name]
            found = inspect.getattr_static(owner.thing, name, None)
            if isinstance(found, types.FunctionType):
                return Value(Kind.CALLABLE, found)
        return Value(Kind.PLAIN) if owner.kind is Kind.PLAIN else None

    # ---- what is used

    def give_up(self) -> None:
        """Note that something cannot be seen through."""
        self.effects.is_unknown = True

    def use(self, value: Value | None, only_reads: bool = False) -> None:
        """Note that a value is used in a way that may change it, or that only reads it."""
        if value is None or value.kind is Kind.PENDING:
            self.give_up()
        elif value.kind in (Kind.OBJECT, Kind.COLLECTION) and value.key:
            is_read = only_reads and value.kind is not Kind.OBJECT
            (self.effects.reads if is_read else self.effects.writes).update(value.keys())
        elif value.kind is Kind.PLAIN and value.key:
            self.effects.reads.add(value.key)

    def visit_Name(self, node: ast.Name) -> None:
        """A name by itself: whoever gets it may do anything."""
        if isinstance(node.ctx, ast.Load):
            value = self.named(node.id)
            if value is None or value.kind is not Kind.CALLABLE:
                self.use(value)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """An attribute that is read, set or deleted."""
        owner = self.value(node.value)
        if not isinstance(node.ctx, ast.Load):
            if owner is None or owner.kind is Kind.CALLABLE:
                self.give_up()
            elif owner.key:
                self.effects.writes.add((*owner.key, node.attr))
            return
        value = self.attribute(owner, node.attr)
        if value is None or value.kind is not Kind.CALLABLE:
            self.use(owner if value is None else value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """An item that is read, set or deleted."""
        value = self.value(node.value)
        if value is None:
            self.visit(node.value)
        self.use(value, only_reads=isinstance(node.ctx, ast.Load))
        self.visit(node.slice)

    def visit_Compare(self, node: ast.Compare) -> None:
        """`in` asks a collection."""
        for part in (node.left, *node.comparators):
            self.read(part)

    def visit_For(self, node: ast.For) -> None:
        """Iterating reads a collection."""
        self.read(node.iter)
        for part in (node.target, *node.body, *node.orelse):
            self.visit(part)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        """The same in a comprehension."""
        self.read(node.iter)
        for part in (node.target, *node.ifs):
            self.visit(part)

    def read(self, node: ast.expr) -> None:
        """Visit an expression of which the value is only read."""
        if isinstance(node, (ast.Name, ast.Attribute)):
            value = self.value(node)
            if value is None or value.kind is not Kind.CALLABLE:
                self.use(value, only_reads=True)
        else:
            self.visit(node)

    def visit_Global(self, node: ast.Global) -> None:  # noqa: ARG002
        """What all functions see is changed."""
        self.give_up()

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:  # noqa: ARG002
        """What the function around sees is changed."""
        self.give_up()

    # ---- what is called

    def visit_Await(self, node: ast.Await) -> None:
        """A call that is awaited. What a library's object does meanwhile is not to be seen."""
        called = node.value.func if isinstance(node.value, ast.Call) else None
        if isinstance(called, ast.Attribute):
            owner = self.value(called.value)
            if owner is not None and owner.kind is Kind.OBJECT:
                method = self.attribute(owner, called.attr)
                if method is None or not is_own_function(method.thing):
                    self.give_up()
        self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        """A call, with its arguments."""
        callee = node.func
        owner = self.value(callee.value) if isinstance(callee, ast.Attribute) else None
        if isinstance(callee, ast.Attribute) and (owner is None or owner.kind is not Kind.CALLABLE):
            self.call_method(node, callee, owner)
        elif isinstance(callee, (ast.Name, ast.Attribute)):
            target = self.value(callee)
            if target is None:
                self.give_up()
            elif target.kind is Kind.CALLABLE:
                self.call_function(node, target.thing, owner)
            else:
                self.give_up()  # an object that can be called
        else:
            self.give_up()  # a function out of a collection, or one that another one returned

    def call_method(self, node: ast.Call, callee: ast.Attribute, owner: Value | None) -> None:
        """A method of an object."""
        if owner is None or is_super(callee.value):
            self.give_up()
            return
        if owner.kind in (Kind.FRESH, Kind.PLAIN):
            if callee.attr in CHANGING_METHODS:
                self.give_up()
            self.visit(callee.value)
        elif owner.kind is Kind.SHAREABLE:
            if not asks_only(owner.thing, callee.attr):
                self.effects.writes.add(owner.key)
        elif owner.kind is Kind.COLLECTION:
            self.use(owner, only_reads=callee.attr in READING_METHODS)
        else:
            method = self.attribute(owner, callee.attr)
            if method is not None and is_own_function(method.thing):
                self.enter(node, method.thing, owner)
                return
            self.use(owner)
        self.hand_arguments(node)

    def call_function(self, node: ast.Call, function: Any, owner: Value | None) -> None:
        """A function, or a class that is made an object of."""
        if is_own_function(function):
            self.enter(node, function, None)
            return
        if isinstance(function, type):
            maker = inspect.getattr_static(function, "__init__", None)
            if is_own_function(maker):
                self.enter(node, maker, FRESH)
                return
        elif not is_harmless(function, owner, node):
            self.give_up()
        if self.depth == 0 and module_of(function, owner) in CLOCKS:
            self.effects.asks_the_time = True
        self.hand_arguments(node, is_builtin=function in vars(builtins).values())

    def hand_arguments(self, node: ast.Call, is_builtin: bool = False) -> None:
        """The arguments of what is not looked into."""
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            inner = argument.value if isinstance(argument, ast.Starred) else argument
            value = self.value(inner)
            if value is not None and value.kind is Kind.CALLABLE:
                self.hand_over(value.thing)
            elif is_builtin:
                self.read(inner)
            else:
                self.visit(inner)

    def hand_over(self, function: Any) -> None:
        """A function that somebody else is given, who may call it."""
        if is_own_function(function):
            nothing = ast.Call(ast.Name("f", ast.Load()), [], [])
            self.enter(nothing, function, None)
        elif not isinstance(function, type) and not is_harmless(function, None, None):
            self.give_up()

    def enter(self, node: ast.Call, function: types.FunctionType, owner: Value | None) -> None:
        """Go through the body of a function of the user's, with what it is given."""
        inside = self.sources.function(function.__code__, function.__globals__)
        if inside is None or self.depth == CALL_DEPTH_MAX:
            self.give_up()
            return
        given = defaults_of(function) | self.bind(node, inside, owner)
        closure = {
            name: value_of_cell(cell)
            for name, cell in zip(
                function.__code__.co_freevars, function.__closure__ or (), strict=False
            )
        }
        scope = Scope(given, bound_names(inside), function.__globals__, closure)
        walk = Walk(scope, self.sources, self.effects, self.depth + 1)
        body = inside.body if isinstance(inside.body, list) else [inside.body]
        for statement in body:
            walk.visit(statement)

    def bind(self, node: ast.Call, inside: FunctionNode, owner: Value | None) -> dict[str, Value]:
        """Return what the parameters of a function refer to in this call."""
        names = [argument.arg for argument in (*inside.args.posonlyargs, *inside.args.args)]
        given: dict[str, Value] = {}
        if owner is not None and names:
            given[names.pop(0)] = owner
        for position, argument in enumerate(node.args):
            value = self.given(argument)
            if isinstance(argument, ast.Starred) or position >= len(names):
                self.use(value)
            elif value is not None:
                given[names[position]] = value
        for keyword in node.keywords:
            value = self.given(keyword.value)
            if keyword.arg is None:
                self.use(value)
            elif value is not None:
                given[keyword.arg] = value
        return given

    def given(self, argument: ast.expr) -> Value | None:
        """Return what an argument refers to, having noted what computing it uses."""
        inner = argument.value if isinstance(argument, ast.Starred) else argument
        value = self.value(inner)
        if not isinstance(inner, (ast.Name, ast.Attribute)) or value is None:
            self.visit(inner)
        return value


def defaults_of(function: types.FunctionType) -> dict[str, Value]:
    """Return what the parameters refer to that are not given."""
    code, defaults = function.__code__, function.__defaults__ or ()
    first = code.co_argcount - len(defaults)
    named = dict(zip(code.co_varnames[first : code.co_argcount], defaults, strict=False))
    named.update(function.__kwdefaults__ or {})
    return {name: value_of(value) for name, value in named.items()}


def value_of_cell(cell: types.CellType) -> Value:
    """Return what a name of the function around refers to."""
    try:
        return value_of(cell.cell_contents)
    except ValueError:
        return FRESH  # it has no value yet


def is_super(node: ast.expr) -> bool:
    """Return whether this is `super()`, which passes for self and is not to be seen through."""
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"
    )


def is_own_function(function: Any) -> bool:
    """Return whether this is a Python function of the user's."""
    return isinstance(function, types.FunctionType) and is_own(function.__code__)


def is_harmless(function: Any, owner: Value | None, call: ast.Call | None) -> bool:
    """Return whether a function that is not the user's touches nothing but its arguments."""
    name = getattr(function, "__name__", "")
    root = module_of(function, owner)
    if root == "builtins":
        if name == "open":
            return call is not None and opens_to_read(call)
        return name in HARMLESS_BUILTINS
    if root in ("asyncio", "meantime"):
        return name in HARMLESS_WAITS
    return root in HARMLESS_MODULES


def module_of(function: Any, owner: Value | None) -> str:
    """Return the top package of a function; a method of a module's own object is the module's."""
    module = getattr(function, "__module__", None)
    if module is None and owner is not None:
        module = getattr(owner.thing, "__name__", None)
    return str(module or "").partition(".")[0]


def opens_to_read(call: ast.Call) -> bool:
    """Return whether a call of open() is one that only reads."""
    modes = [*call.args[1:2], *(word.value for word in call.keywords if word.arg == "mode")]
    return all(isinstance(mode, ast.Constant) and mode.value in ("r", "rb", "rt") for mode in modes)
