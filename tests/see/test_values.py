"""What is looked at stays as it was."""

import ast
import asyncio
import weakref

import pytest

from meantime.see.values import look_at_values


async def waiting(limit):
    held = [limit]
    await asyncio.sleep(0)
    return held


def test_names_of_a_cell_of_a_notebook_stay():
    """Its frame has the very dictionary that its names live in, and no copy."""
    names = {"kept": 1, "sleep": asyncio.sleep}
    code = compile("await sleep(0)", "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    cell = eval(code, {}, names)
    cell.send(None)
    look_at_values(cell.cr_frame)
    cell.close()
    assert names["kept"] == 1


def test_variables_that_somebody_else_looks_at_stay_for_them():
    call = waiting(3)
    call.send(None)
    theirs = call.cr_frame.f_locals
    look_at_values(call.cr_frame)
    assert theirs["limit"] == 3
    call.close()


def test_variables_of_a_function_are_seen_and_the_function_goes_on():
    call = waiting(3)
    call.send(None)
    assert set(look_at_values(call.cr_frame).local) == {"limit", "held"}
    with pytest.raises(StopIteration) as end:
        call.send(None)
    assert end.value.value == [3]


def test_a_copy_of_variables_is_not_left_in_the_frame():
    class Thing:
        pass

    async def drop():
        thing = Thing()
        alive = weakref.ref(thing)
        await asyncio.sleep(0)
        del thing
        return alive

    call = drop()
    call.send(None)
    assert set(look_at_values(call.cr_frame).local) == {"thing", "alive", "Thing"}
    with pytest.raises(StopIteration) as end:
        call.send(None)
    assert end.value.value() is None
