"""Exceptions of callbacks go to a handler of the program's own, and that is where they stay."""

import asyncio

seen = []


async def main():
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, situation: seen.append(situation["exception"]))
    loop.call_soon(lambda: 1 / 0)
    await asyncio.sleep(0.05)
    assert isinstance(seen[0], ZeroDivisionError)


asyncio.run(main())
