"""What there is to fuzz: each class, method and function of the compiled modules.

They are found by looking, so a new one is fuzzed without anybody adding it here.
"""

import functools
import importlib
import pkgutil
from importlib.machinery import ExtensionFileLoader

import meantime


@functools.cache
def compiled_modules():
    """Return every compiled module, by its name below meantime, and of the core below that."""
    found = pkgutil.walk_packages(meantime.__path__, "meantime.")
    modules = [
        importlib.import_module(info.name) for info in found if not info.name.endswith("__main__")
    ]
    return {
        module.__name__.removeprefix("meantime.").removeprefix("_core."): module
        for module in modules
        if isinstance(module.__loader__, ExtensionFileLoader)
    }


def is_of(thing, module):
    return getattr(thing, "__module__", None) == module.__name__


@functools.cache
def classes():
    """Return every class of the compiled modules, by its module's name and its own."""
    return {
        f"{place}.{name}": thing
        for place, module in compiled_modules().items()
        for name, thing in sorted(vars(module).items())
        if isinstance(thing, type) and is_of(thing, module) and thing.__name__ == name
    }


@functools.cache
def functions():
    """Return every function of the compiled modules, by its module's name and its own."""
    return {
        f"{place}.{name}": thing
        for place, module in compiled_modules().items()
        for name, thing in sorted(vars(module).items())
        if callable(thing) and not isinstance(thing, type) and is_of(thing, module)
    }


def own_names(cls):
    """Return what one class adds itself: methods, properties, and what the interpreter calls."""
    if cls not in compiled_types():
        return []  # written in Python, and so is no danger
    dull = {"__doc__", "__module__", "__weakref__", "__dict__", "__new__", "__pyx_vtable__"}
    return sorted(set(vars(cls)) - dull)


@functools.cache
def compiled_types():
    """Return the classes that are C structures; a module may hold a few of Python beside them."""
    heap_type = 1 << 9
    return {cls for cls in classes().values() if not cls.__flags__ & heap_type}


def methods_of(cls):
    """Return the methods that a class has from compiled classes, by name."""
    return sorted(
        {
            name
            for base in cls.__mro__
            for name in own_names(base)
            if callable(getattr(base, name, None))
        }
    )


def attributes_of(cls):
    """Return the properties and fields that a class has from compiled classes, by name."""
    return sorted(
        {
            name
            for base in cls.__mro__
            for name in own_names(base)
            if not callable(getattr(base, name, None))
        }
    )


@functools.cache
def targets():
    """Return all pairs of a class and a name that it adds; of a function, "" and its name."""
    pairs = [(name, attribute) for name, cls in classes().items() for attribute in own_names(cls)]
    return pairs + [("", name) for name in functions()]
