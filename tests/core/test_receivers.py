"""Methods taken from their class and called on an object of another kind: an error each."""

import asyncio
import importlib
import pkgutil
from importlib.machinery import EXTENSION_SUFFIXES

import pytest

import meantime
import meantime._core
import meantime.files
import meantime.primitives
from meantime._core.receivers import check_receivers

CYTHONS_FUNCTION = type(check_receivers)


def compiled_modules():
    for package in (meantime._core, meantime.primitives, meantime.files):
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            module = importlib.import_module(found.name)
            if getattr(module, "__file__", "").endswith(tuple(EXTENSION_SUFFIXES)):
                yield module


METHODS = {
    f"{kind.__module__}.{kind.__qualname__}.{name}": method
    for module in compiled_modules()
    for kind in vars(module).values()
    if isinstance(kind, type) and kind.__module__ == module.__name__
    for name, method in vars(kind).items()
    if type(method) is CYTHONS_FUNCTION
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("stranger", [42, None, object(), asyncio.Event()], ids=repr)
def test_a_stranger_is_refused(name, stranger):
    method = METHODS[name]
    with pytest.raises(TypeError, match=r"doesn't apply to a '.*' object"):
        method(stranger)
    with pytest.raises(TypeError, match=r"doesn't apply to a '.*' object"):
        method(stranger, 1, more=2)


@pytest.mark.parametrize("name", METHODS)
def test_nobody_is_refused(name):
    with pytest.raises(TypeError, match="needs an argument"):
        METHODS[name]()


def test_methods_of_each_kind_of_class_are_among_them():
    """Otherwise this file would test nothing."""
    for name in ("Queue.get", "StreamWriter.write", "TaskGroup.create_task", "DirectFile.read"):
        assert [found for found in METHODS if found.endswith(name)], name


def test_an_object_of_a_subclass_is_welcome():
    class Own(meantime.Event):
        pass

    wait = meantime.Event.wait(Own())
    wait.close()
