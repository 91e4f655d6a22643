"""The style rules that a program can check. Nobody needs to argue about these in a review.

The source is read as text and never imported, so this runs before anything is built.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"

FUNCTION_LINES_MAX = 60
FILE_LINES_MAX = 500
LINE_COLUMNS_MAX = 100
# What only a checker reads does not count, as Ruff has it.
WORD_TO_A_CHECKER = re.compile(r"  # (type: ignore|noqa|pyright:).*$")

# From the bottom to the top. A module may import from its own layer and from those below; within a
# layer a cycle is an error. The first pattern that matches counts.
LAYERS = [
    ("errors", r"meantime\.errors"),
    ("kernel", r"meantime\._core\.(kernel|calls|garbage|counters|pulse|receivers)"),
    ("poller", r"meantime\._core\.poller(\..*)?"),
    ("ready and timers", r"meantime\._core\.(ready|timers|observe)"),
    ("core loop", r"meantime\._core\.loop"),
    ("transports", r"meantime\._core(\..*)?"),
    ("asyncio face", r"meantime\.loop(\..*)?"),
    ("primitives", r"meantime\.primitives(\..*)?"),
    ("runner", r"meantime\.runner"),
    ("tools below", r"meantime\.(files|flow|offload)(\..*)?"),
    ("tools", r"meantime\.(guard|see|check|doctor)(\..*)?"),
    ("public names", r"meantime"),
    ("command line", r"meantime\.(cli(\..*)?|__main__)"),
]

# Imports inside a function, each with the reason why it is not at the head of the file.
LATE_IMPORTS = {}

EMPTY_NAMES = {"utils", "util", "common", "misc", "helpers"}


def files(*suffixes):
    return sorted(path for path in SRC.rglob("*") if path.suffix in suffixes)


def name_of(path):
    return str(path.relative_to(ROOT))


def for_each(*suffixes):
    return pytest.mark.parametrize("path", files(*suffixes), ids=name_of)


every_source = for_each(".py", ".pyi", ".pyx", ".pxd", ".h")
every_module = for_each(".py", ".pyx", ".pxd")


# --- Length ---------------------------------------------------------------------------------------


@every_source
def test_no_line_and_no_file_is_too_long(path):
    lines = path.read_text().splitlines()
    long_lines = [
        f"{name_of(path)}:{number} has {len(line)} columns"
        for number, line in enumerate(lines, 1)
        if len(WORD_TO_A_CHECKER.sub("", line)) > LINE_COLUMNS_MAX
    ]
    assert not long_lines
    assert len(lines) <= FILE_LINES_MAX, f"find the second noun hiding in {name_of(path)}"


@every_source
def test_no_function_is_too_long(path):
    long_functions = [
        f"{name_of(path)}:{function.line} {function.name} has {function.lines} lines"
        for function in functions_of(path)
        if function.lines > FUNCTION_LINES_MAX
    ]
    assert not long_functions


@dataclass
class Function:
    """A function's place in its file."""

    name: str
    line: int
    lines: int


PYTHON_HEAD = re.compile(r"^( *)(?:async )?def (\w+)")
CYTHON_HEAD = re.compile(r"^( *)(?:c|cp)def (?!class|extern|enum|struct|union|packed).*?(\w+)\(")
C_HEAD = re.compile(r"^\w[^;=]*?(\w+)\([^;]*$")


def code_lines(path):
    """Return a file's lines without comments and without what stands in triple quotes."""
    text = re.sub(r'("""|\'\'\').*?\1', blank, path.read_text(), flags=re.DOTALL)
    return [line.split("#")[0].rstrip() for line in text.splitlines()]


def blank(match):
    """Return a placeholder of as many lines, so that line numbers stay right."""
    return "0" + "\n" * match[0].count("\n")


def functions_of(path):
    if path.suffix == ".h":
        return list(c_functions(path.read_text().splitlines()))
    return list(indented_functions(code_lines(path)))


def indented_functions(lines):
    """Yield the functions of Python or Cython source, which end where the indentation does."""
    for start, line in enumerate(lines):
        head = PYTHON_HEAD.match(line) or CYTHON_HEAD.match(line)
        if head is None:
            continue
        end, depth = start, brackets(line)
        while depth > 0:
            end += 1
            depth += brackets(lines[end])
        if not lines[end].endswith(":"):
            continue  # a declaration, a one-liner, or a variable with a call in its value
        for later in range(end + 1, len(lines)):
            text = lines[later]
            if text and len(text) - len(text.lstrip()) <= len(head[1]):
                break
            if text:
                end = later
        yield Function(head[2], start + 1, end - start + 1)


def brackets(line):
    """Return how many brackets a line opens and does not close."""
    return sum(line.count(c) for c in "([{") - sum(line.count(c) for c in ")]}")


def c_functions(lines):
    """Yield the functions of C source: from a head in the first column to a } there."""
    start = name = None
    for index, line in enumerate(lines):
        if head := C_HEAD.match(line):
            start, name = index, head[1]
        elif line.startswith("}") and start is not None:
            yield Function(name, start + 1, index - start + 1)
            start = None


# --- Imports --------------------------------------------------------------------------------------


@dataclass
class Import:
    """One imported module of ours, and the line that imports it."""

    target: str
    line: int
    late: bool


IMPORT_LINE = re.compile(r"^( *)(?:from\s+(\S+)\s+c?import\s+(.*)|c?import\s+(.*))$")


def module_of(path):
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path) for path in files(".py", ".pyx", ".pxd")}


def imports_of(path):
    """Return what a file imports of ours, and every late import, whatever it names.

    Imports under TYPE_CHECKING are for the type checkers only and do not count.
    """
    if path.suffix == ".py":
        return list(python_imports(path))
    return list(cython_imports(path))


def python_imports(path):
    tree = ast.parse(path.read_text())
    skipped, late = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped.update(id(inner) for inner in ast.walk(node))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            late.update(id(inner) for inner in ast.walk(node))
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, id(node) in late)
        elif isinstance(node, ast.ImportFrom):
            base = absolute_name(path, "." * node.level + (node.module or ""))
            for alias in node.names:
                yield Import(narrowest(base, alias.name), node.lineno, id(node) in late)


def cython_imports(path):
    in_function = None
    for number, line in enumerate(code_lines(path), 1):
        indent = len(line) - len(line.lstrip())
        if in_function is not None and line.strip() and indent <= in_function:
            in_function = None
        head = PYTHON_HEAD.match(line) or CYTHON_HEAD.match(line)
        if head is not None and in_function is None:
            in_function = indent
        found = IMPORT_LINE.match(line)
        if found is None:
            continue
        late = in_function is not None and indent > in_function
        if found[2]:
            base = absolute_name(path, found[2])
            for name in found[3].strip("() ").split(","):
                yield Import(narrowest(base, name.split(" as ")[0].strip()), number, late)
        else:
            for name in found[4].split(","):
                yield Import(name.split(" as ")[0].strip(), number, late)


def absolute_name(path, name):
    """Return a dotted name without leading dots, as seen from a file."""
    dots = len(name) - len(name.lstrip("."))
    if dots == 0:
        return name
    package = module_of(path).split(".")
    climb = dots - (1 if path.name == "__init__.py" else 0)
    if climb:
        package = package[:-climb]
    return ".".join([*package, *filter(None, [name.lstrip(".")])])


def narrowest(base, name):
    """Return the module that ``from base import name`` reads from."""
    return f"{base}.{name}" if f"{base}.{name}" in MODULES else base


def layer_of(module):
    for height, (_, pattern) in enumerate(LAYERS):
        if re.fullmatch(pattern, module):
            return height
    raise AssertionError(f"{module} belongs to no layer: add it to LAYERS, where DESIGN puts it")


def is_ours(name):
    return name == "meantime" or name.startswith("meantime.")


@every_module
def test_imports_point_downwards(path):
    module = module_of(path)
    upwards = [
        f"{name_of(path)}:{found.line} imports {found.target} ({LAYERS[layer_of(found.target)][0]})"
        for found in imports_of(path)
        if is_ours(found.target) and layer_of(found.target) > layer_of(module)
    ]
    assert not upwards, f"{module} is in the layer {LAYERS[layer_of(module)][0]!r}"


def test_no_imports_go_in_a_circle():
    """A .pxd may name what its .pyx needs, so each kind of file is looked at for itself."""
    for suffixes in ((".py", ".pyx"), (".pxd",)):
        graph = {}
        for path in files(*suffixes):
            targets = {found.target for found in imports_of(path) if is_ours(found.target)}
            graph.setdefault(module_of(path), set()).update(targets - {module_of(path)})
        assert circle_in(graph) is None


def circle_in(graph):
    """Return the modules of one circle, or None."""
    finished, trail = set(), []

    def visit(module):
        if module in trail:
            return [*trail[trail.index(module) :], module]
        if module in finished:
            return None
        trail.append(module)
        for target in sorted(graph.get(module, ())):
            if circle := visit(target):
                return circle
        finished.add(trail.pop())
        return None

    return next((circle for module in sorted(graph) if (circle := visit(module))), None)


def test_no_import_stands_inside_a_function():
    late = {
        (name_of(path), found.target): f"{name_of(path)}:{found.line} imports {found.target}"
        for path in files(".py", ".pyx")
        for found in imports_of(path)
        if found.late
    }
    assert not [where for key, where in late.items() if key not in LATE_IMPORTS]
    assert not set(LATE_IMPORTS) - set(late), "no longer there: take it out of LATE_IMPORTS"


# --- Names and leftovers --------------------------------------------------------------------------


@every_source
def test_a_file_is_named_after_its_subject(path):
    assert not EMPTY_NAMES & set(path.relative_to(SRC).with_suffix("").parts)


@for_each(".pyx")
def test_a_compiled_module_has_a_stub(path):
    """Type checkers and editors cannot look into a compiled module."""
    assert path.with_suffix(".pyi").exists()


@every_source
def test_nothing_is_left_to_do(path):
    leftovers = [
        f"{name_of(path)}:{number} {line.strip()}"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"\b(FIXME|TODO|XXX)\b", line)
    ]
    assert not leftovers


@for_each(".pyx")
def test_a_compiled_module_is_built(path):
    """A .pyx that meson.build does not list would be forgotten without a word."""
    folder, _, module = path.relative_to(SRC / "meantime").with_suffix("").as_posix().partition("/")
    listed = f"'{module}'" in (ROOT / "meson.build").read_text()
    assert listed, f"add '{module}' to the modules of {folder} in meson.build"


def test_the_version_is_the_same_everywhere():
    """meson.build names the package's, __init__.py the one that a program can ask for."""
    in_meson = re.search(r"version: '([\d.]+)'", (ROOT / "meson.build").read_text())[1]
    in_python = (SRC / "meantime" / "__init__.py").read_text()
    assert f'__version__ = "{in_meson}"' in in_python
