"""Exceptions that nobody awaits."""

import contextvars
import logging
import sys

import pytest


def fail():
    raise ZeroDivisionError


def run_one_turn(loop):
    loop.call_soon(loop.stop)
    loop.run_forever()


def test_a_failing_callback_is_logged_and_the_loop_goes_on(loop, caplog):
    ran = []
    loop.call_soon(fail)
    loop.call_soon(ran.append, 1)
    run_one_turn(loop)
    assert ran == [1]
    (record,) = caplog.records
    assert record.name == "asyncio"
    assert record.levelno == logging.ERROR
    assert record.exc_info[0] is ZeroDivisionError


def test_the_log_names_every_key_of_the_context(loop, caplog):
    loop.call_exception_handler({"message": "broken", "b": 2, "a": [1]})
    assert caplog.messages == ["broken\na: [1]\nb: 2"]


def test_a_message_is_found_where_the_context_has_none(loop, caplog):
    loop.call_exception_handler({})
    assert caplog.messages == ["Unhandled exception in event loop"]


def test_a_handler_gets_the_loop_and_the_context(loop):
    seen = []
    loop.set_exception_handler(lambda *arguments: seen.append(arguments))
    context = {"message": "x"}
    loop.call_exception_handler(context)
    assert seen == [(loop, context)]
    assert loop.get_exception_handler() is not None


def test_a_failing_handler_is_logged_with_what_it_was_told(loop, caplog):
    def handler(loop, context):
        raise AttributeError

    loop.set_exception_handler(handler)
    loop.call_exception_handler({"message": "first"})
    (message,) = caplog.messages
    assert message.startswith("Unhandled error in exception handler")
    assert "'first'" in message


def test_a_failing_default_handler_is_logged(loop, caplog, monkeypatch):
    monkeypatch.setattr(loop, "default_exception_handler", lambda context: fail())
    loop.call_exception_handler({"message": "x"})
    assert caplog.messages == ["Exception in default exception handler"]


def test_a_handler_may_end_the_program(loop):
    def handler(loop, context):
        raise SystemExit

    loop.set_exception_handler(handler)
    with pytest.raises(SystemExit):
        loop.call_exception_handler({})


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks of 3.11 do not show their context")
def test_a_handler_sees_the_context_variables_of_the_task(loop):
    """Log records get their request id from there."""
    name = contextvars.ContextVar("name", default="nobody")
    seen = []
    loop.set_exception_handler(lambda loop, context: seen.append(name.get()))

    async def work():
        name.set("task")

    task = loop.create_task(work())
    loop.run_until_complete(task)
    loop.call_exception_handler({"task": task})
    assert seen == ["task"]


def test_what_is_no_handler_is_refused(loop):
    with pytest.raises(TypeError, match="A callable object or None is expected"):
        loop.set_exception_handler("spam")
