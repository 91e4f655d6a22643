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


def add(one: int, other: int = 1) -> int:
    return one + other


@meantime.offload(where="process", timeout=5)
def decorated(one: int, other: int = 1) -> int:
    return one + other


async def functions_elsewhere(limiter: meantime.CapacityLimiter) -> None:
    assert_type(await meantime.to_thread(add, 1, other=2), int)
    assert_type(await meantime.to_process(add, 1, timeout=3, limiter=limiter), int)
    assert_type(await meantime.to_interpreter(add, 1), int)
    assert_type(await meantime.offload(add, 1, other=2, where="process"), int)
    assert_type(await meantime.offload(add, 1, limiter=asyncio.Semaphore(2)), int)
    assert_type(await decorated(1, other=2), int)
    async for each in meantime.offload_map(add, [1, 2, 3], ordered=False):
        assert_type(each, int)
    meantime.default_limiter("process").total = 2
    meantime.report_progress(1, 2)
    meantime.stop_workers()


async def files_know_what_they_hold() -> None:
    async with meantime.open_file("x") as text:
        assert_type(await text.read(), str)
        assert_type([line async for line in text], list[str])
    async with meantime.open_file("x", "rb") as data:
        assert_type(await data.read(), bytes)
        assert_type(await data.readinto(bytearray(3)), int)
        assert_type(await data.read_at(3, 0), bytes)
    path = meantime.Path("x") / "y"
    assert_type(path, meantime.Path)
    assert_type(await path.read_text(), str)
    assert_type([entry async for entry in path.iterdir()], list[meantime.Path])
    async with path.open("wb") as target:
        assert_type(await target.write(b"x"), int)
    assert_type(await meantime.files.read_bytes(path), bytes)
