"""How the public names look to a type checker. It is checked and never run."""

import asyncio
from typing import assert_type

import meantime


async def main() -> int:
    return 1


def own_programs() -> None:
    assert_type(meantime.run(main()), int)
    assert_type(meantime.run(main(), debug=True), int)
    with meantime.Runner() as runner:
        assert_type(runner.run(main()), int)


def loop_factories() -> None:
    asyncio.Runner(loop_factory=meantime.new_event_loop)
    asyncio.Runner(loop_factory=meantime.EventLoop)
    meantime.Runner(loop_factory=lambda: meantime.EventLoop(backend="epoll", spin_s=0.00005))


def an_event_loop_is_one_of_asyncios() -> asyncio.AbstractEventLoop:
    loop = meantime.EventLoop(backend="io_uring")
    assert_type(loop.run_until_complete(main()), int)
    return loop


def the_rest() -> None:
    assert_type(meantime.backend(), str)
    meantime.install()
    meantime.uninstall()
    try:
        meantime.new_event_loop()
    except meantime.BackendError as error:
        assert_type(error, meantime.BackendError)


async def asyncios_names_are_there() -> None:
    async with meantime.TaskGroup() as group:
        task = group.create_task(main())
    assert_type(task.result(), int)
    assert_type(await meantime.gather(main(), main()), tuple[int, int])
