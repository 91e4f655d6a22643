"""Awaits of one function that need not have been one after the other, as its source shows.

Two awaits are found if the second uses nothing that the first returned or may have changed, and if
nothing stands between them that orders them: a lock, a transaction, a `try`, a way out of the
function. Only awaits of calls whose results are used count. Who throws a result away wanted the
call's effect, and effects have an order.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

from meantime.see.effects import Effects, Scope, Walk, effects_of
from meantime.see.values import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from meantime.see.sources import Sources

Simple: TypeAlias = ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Return | ast.Expr
SIMPLE = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Return, ast.Expr)
Comprehension: TypeAlias = ast.ListComp | ast.SetComp | ast.DictComp
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp)
INNER_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.GeneratorExp)
# An await in one of these may not happen, happen many times, or bind a name on its way.
BRANCHES = (*COMPREHENSIONS, ast.IfExp, ast.BoolOp, ast.NamedExpr, ast.Yield, ast.YieldFrom)
WAYS_OUT = (ast.Return, ast.Raise, ast.Break, ast.Continue, ast.Yield, ast.YieldFrom, ast.Await)
ORDERING = (ast.Try, ast.TryStar, ast.With, ast.AsyncWith, ast.AsyncFor, ast.While, ast.Match)
STORING_METHODS = {"append", "add", "extend", "update"}
# Blocks that only give their name something new, which is closed at their end, or a time limit.
NEUTRAL_CONTEXTS = {"aiohttp", "httpx", "asyncpg", "io", "_io"}
NEUTRAL_NAMES = {"timeout", "timeout_at", "TaskGroup", "open"}


@dataclass(frozen=True)
class Group:
    """Awaits that could be at once: several in a row, or one or more in each turn of a loop."""

    awaits: tuple[ast.Await, ...]
    loop: ast.For | Comprehension | None = None


@dataclass
class Row:
    """Awaits in a row that do not depend on each other, and what has happened since the first."""

    awaits: list[ast.Await] = field(default_factory=list)
    effects: list[Effects] = field(default_factory=list)
    tainted: set[str] = field(default_factory=set)  # names that hold something of the results


class Order:
    """Looks for groups in the body of a function."""

    def __init__(self, scope: Scope, sources: Sources) -> None:
        self.scope = scope
        self.sources = sources
        self.groups: list[Group] = []
        self.loop_depth = 0

    def block(self, statements: Sequence[ast.stmt]) -> None:
        """Look through the statements of one block, and through the blocks in it."""
        row = Row()
        for statement in statements:
            if not self.loop_depth:
                for comprehension in comprehensions_in(statement):
                    self.comprehension(comprehension)
            if isinstance(statement, SIMPLE) and any(awaits_in(statement)):
                row = self.extended(row, statement)
            elif not self.passes(row, statement):
                self.close(row)
                row = Row()
                self.inner_blocks(statement)
        self.close(row)

    def close(self, row: Row) -> None:
        """Keep a row that is one."""
        if len(row.awaits) > 1:
            self.groups.append(Group(tuple(row.awaits)))

    def inner_blocks(self, statement: ast.stmt) -> None:
        """Look through the blocks of a statement, unless it orders what is in them."""
        if isinstance(statement, ast.If):
            self.block(statement.body)
            self.block(statement.orelse)
        elif isinstance(statement, ast.For):
            # How often an inner loop begins anew is not known, and so not what it would save.
            if self.loop_depth or not self.loop(statement):
                self.loop_body(statement.body)
        elif isinstance(statement, (ast.While, ast.AsyncFor)):
            self.loop_body(statement.body)
        elif isinstance(statement, (ast.With, ast.AsyncWith)):
            if all(self.is_neutral(item.context_expr) for item in statement.items):
                self.block(statement.body)
        elif isinstance(statement, ast.Try) and not statement.handlers:
            self.block(statement.body)

    def loop_body(self, statements: Sequence[ast.stmt]) -> None:
        """Look through what happens in each turn."""
        self.loop_depth += 1
        self.block(statements)
        self.loop_depth -= 1

    def is_neutral(self, context: ast.expr) -> bool:
        """Return whether the body of `with context` may be in any order."""
        if not isinstance(context, ast.Call):
            return False
        value = Walk(self.scope, self.sources, Effects(), 0).value(context.func)
        if value is None or value.kind is not Kind.CALLABLE:
            return False
        root = (getattr(value.thing, "__module__", None) or "").partition(".")[0]
        name = getattr(value.thing, "__name__", "")
        return root in NEUTRAL_CONTEXTS or (
            root in ("asyncio", "meantime") and name in NEUTRAL_NAMES
        )

    # ---- awaits in a row

    def extended(self, row: Row, statement: Simple) -> Row:
        """Return the row with the awaits of a statement, or a new row that begins with them."""
        awaits = list(awaits_in(statement))
        effects = self.effects(statement)
        if not uses_results(statement) or is_tangled(statement, awaits) or effects.is_unknown:
            self.close(row)
            return Row()
        stored = roots_stored(statement)
        for node in awaits:
            operand = self.effects(node)
            needed = names_read(node.value) | operand.names
            if (
                needed & row.tainted
                or operand.asks_the_time
                or stored & row.tainted & names_stored(statement)
                or any(earlier.may_disturb(operand) for earlier in row.effects)
            ):
                self.close(row)
                row = Row()
            row.awaits.append(node)
            row.effects.append(operand)
        row.effects.append(effects)
        row.tainted |= stored
        if isinstance(statement, ast.Return):
            self.close(row)
            return Row()
        return row

    def passes(self, row: Row, statement: ast.stmt) -> bool:
        """Return whether the row may go on behind a statement without awaits."""
        if isinstance(statement, (*INNER_FUNCTIONS, ast.ClassDef, ast.Import, ast.ImportFrom)):
            return True
        if not row.awaits:
            # Nothing can come to harm. But what has blocks is to be looked into.
            return isinstance(statement, (*SIMPLE, ast.Pass))
        if isinstance(statement, (*ORDERING, ast.Assert, ast.Delete)):
            return False
        if any(isinstance(node, WAYS_OUT) for node in ast.walk(statement)):
            return False
        effects = self.effects(statement)
        if effects.is_unknown:
            return False
        if isinstance(statement, ast.Expr) and effects.writes and not is_storing(statement.value):
            return False  # somebody may wait for what this does
        row.effects.append(effects)
        # The time between two awaits is that of the first.
        if effects.asks_the_time or (names_read(statement) | effects.names) & row.tainted:
            row.tainted |= roots_stored(statement)
        # Whatever it puts into an object may be what a later call finds there.
        row.tainted |= roots_stored(statement) - names_stored(statement)
        return True

    def effects(self, node: ast.AST) -> Effects:
        """Return what a piece of the function touches."""
        return effects_of(node, self.scope, self.sources)

    # ---- awaits in a loop

    def loop(self, statement: ast.For) -> bool:
        """Return whether the turns of a loop could be at once, having noted it."""
        body = statement.body
        awaits = [node for inner in body for node in awaits_in(inner)]
        if not awaits or statement.orelse or not self.is_fixed(statement.iter):
            return False
        for inner in body:
            has_awaits = any(awaits_in(inner))
            if has_awaits and not (isinstance(inner, SIMPLE) and uses_results(inner)):
                return False
            if has_awaits and is_tangled(inner, list(awaits_in(inner))):
                return False
            if has_awaits and not uses_in_turn(inner, body):
                return False
            if not has_awaits and not is_harmless_in_loop(inner, is_last=inner is body[-1]):
                return False
        targets = names_stored(statement.target)
        effects = [self.effects(inner) for inner in body]
        if not self.is_free(awaits, effects, targets):
            return False
        if depends_on_last_turn(body, targets) or names_read(statement.iter) & set().union(
            *map(roots_stored, body)
        ):
            return False
        self.groups.append(Group(tuple(awaits), statement))
        return True

    def comprehension(self, node: Comprehension) -> None:
        """Note a comprehension whose awaits could be at once."""
        awaits = list(awaits_in(node))
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        allowed = [found for part in parts for found in awaits_in(part)]
        if len(allowed) != len(awaits) or any(each.is_async for each in node.generators):
            return
        if any(is_branched(part, allowed) for part in parts):
            return
        if not all(self.is_fixed(each.iter) for each in node.generators):
            return
        targets = set().union(*(names_stored(each.target) for each in node.generators))
        if awaits and self.is_free(awaits, [self.effects(node)], targets):
            self.groups.append(Group(tuple(awaits), node))

    def is_free(self, awaits: list[ast.Await], body: list[Effects], targets: set[str]) -> bool:
        """Return whether what is awaited in one turn touches nothing that another turn touches."""
        own = {key for name in targets for key in self.keys_of(name)}
        for node in awaits:
            operand = self.effects(node)
            operand.reads -= own
            operand.writes -= own
            if not isinstance(node.value, ast.Call) or operand.may_disturb(operand):
                return False
            for effects in body:
                effects.reads -= own
                effects.writes -= own
                if effects.may_disturb(operand):
                    return False
        return True

    def keys_of(self, name: str) -> set[tuple[object, ...]]:
        """Return the keys of what a loop's own variable refers to: another object in each turn."""
        value = self.scope.local.get(name)
        return value.keys() if value is not None else set()

    def is_fixed(self, iterated: ast.expr) -> bool:
        """Return whether it is known before the first turn what a loop goes over."""
        if isinstance(iterated, (ast.List, ast.Tuple, ast.Set, ast.Dict)):
            return True
        walk = Walk(self.scope, self.sources, Effects(), 0)
        if isinstance(iterated, ast.Call):
            if isinstance(iterated.func, ast.Attribute):
                owner = walk.value(iterated.func.value)
                return owner is not None and owner.kind is Kind.COLLECTION
            parts = all(
                isinstance(part, ast.Constant) or self.is_fixed(part) for part in iterated.args
            )
            name = iterated.func.id if isinstance(iterated.func, ast.Name) else ""
            return name in {"range", "enumerate", "zip", "sorted", "reversed", "list"} and parts
        value = walk.value(iterated)
        return value is not None and value.kind in (Kind.COLLECTION, Kind.PLAIN)


# --- What the source says -------------------------------------------------------------------------


def walk_here(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and what is below it, but not what is inside another function or loop."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (*INNER_FUNCTIONS, *COMPREHENSIONS)):
            yield from walk_here(child)


def awaits_in(node: ast.AST) -> Iterator[ast.Await]:
    """Yield the awaits of a statement or expression."""
    return (found for found in walk_here(node) if isinstance(found, ast.Await))


def comprehensions_in(statement: ast.stmt) -> Iterator[Comprehension]:
    """Yield the comprehensions of a simple statement."""
    if isinstance(statement, SIMPLE):
        for node in ast.walk(statement):
            if isinstance(node, COMPREHENSIONS):
                yield node


def uses_results(statement: Simple) -> bool:
    """Return whether what is awaited is kept, returned, printed or put into a collection."""
    if not isinstance(statement, ast.Expr):
        return True
    call = statement.value
    if not isinstance(call, ast.Call):
        return False
    if isinstance(call.func, ast.Name):
        return call.func.id == "print"
    return (
        isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.attr in STORING_METHODS
    )


def is_tangled(statement: ast.AST, awaits: list[ast.Await]) -> bool:
    """Return whether one await is inside another, in a branch, or of something but a call."""
    if any(not isinstance(node.value, ast.Call) for node in awaits):
        return True
    for node in awaits:
        if any(isinstance(below, BRANCHES) for below in ast.walk(node.value)):
            return True
        if any(inner is not node for inner in awaits_in(node)):
            return True
    return is_branched(statement, awaits)


def is_branched(node: ast.AST, awaits: list[ast.Await]) -> bool:
    """Return whether one of the awaits may not happen each time."""
    for above in ast.walk(node):
        if isinstance(above, (ast.IfExp, ast.BoolOp, ast.NamedExpr, ast.Compare)):
            below = set(ast.walk(above))
            if any(found in below for found in awaits):
                return True
    return False


def names_read(node: ast.AST) -> set[str]:
    """Return the names that a node reads."""
    return {
        found.id
        for found in ast.walk(node)
        if isinstance(found, ast.Name) and isinstance(found.ctx, ast.Load)
    }


def names_stored(node: ast.AST) -> set[str]:
    """Return the names that a node gives a value."""
    return {
        found.id
        for found in ast.walk(node)
        if isinstance(found, ast.Name) and not isinstance(found.ctx, ast.Load)
    }


def roots_stored(node: ast.AST) -> set[str]:
    """Return the names that a node gives a value, or puts something into."""
    found = names_stored(node)
    for inner in ast.walk(node):
        if isinstance(inner, (ast.Attribute, ast.Subscript)):
            if not isinstance(inner.ctx, ast.Load):
                found |= root_of(inner)
        elif is_storing(inner):
            found |= root_of(inner.func)
    return found


def is_storing(node: ast.AST) -> TypeGuard[ast.Call]:
    """Return whether this puts something into a collection, as `results.append(…)` does."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in STORING_METHODS
    )


def root_of(node: ast.expr) -> set[str]:
    """Return the name that an expression like `a.b[0].c` begins with."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return {node.id} if isinstance(node, ast.Name) else set()


def is_harmless_in_loop(statement: ast.stmt, is_last: bool) -> bool:
    """Return whether a statement without awaits may stand in a loop whose turns are at once."""
    if isinstance(statement, ORDERING):
        return False
    ways_out = [node for node in ast.walk(statement) if isinstance(node, WAYS_OUT)]
    if is_last or isinstance(statement, ast.If):
        # Leaving this turn early is no matter, if nothing is awaited behind it.
        ways_out = [node for node in ways_out if not isinstance(node, ast.Continue)]
    return not ways_out


def uses_in_turn(statement: ast.stmt, body: Sequence[ast.stmt]) -> bool:
    """Return whether each turn does something with its result. Else only the last one matters."""
    names = names_stored(statement)
    return not names or any(names & names_read(other) for other in body if other is not statement)


def depends_on_last_turn(body: Sequence[ast.stmt], targets: set[str]) -> bool:
    """Return whether what is awaited uses a name that an earlier turn has set."""
    changed = set().union(*map(roots_stored, body)) - targets
    settled: set[str] = set()
    for position, statement in enumerate(body):
        for node in awaits_in(statement):
            if names_read(node.value) & (changed - settled):
                return True
        if any(isinstance(node, ast.Continue) for node in ast.walk(statement)):
            # Whether the rest of the turn happens depends on this.
            rest = body[position + 1 :]
            if names_read(statement) & changed and any(map(any, map(awaits_in, rest))):
                return True
        if isinstance(statement, ast.Assign) and not names_read(statement) & (changed - settled):
            settled |= {target.id for target in statement.targets if isinstance(target, ast.Name)}
    return False
