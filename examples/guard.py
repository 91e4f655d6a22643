"""A server that is slow for everybody because of one line, and what guard says of it.

python examples/guard.py
"""

import asyncio
import time

import meantime


async def answer(reader, writer):
    await reader.readline()
    time.sleep(0.2)  # should be: await asyncio.sleep(0.2)
    writer.write(b"done\n")
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def ask(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"please\n")
    await reader.readline()
    writer.close()
    await writer.wait_closed()


async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        started_s = time.perf_counter()
        await asyncio.gather(*(ask(port) for _ in range(5)))
        print(f"5 customers waited {time.perf_counter() - started_s:.1f} s")


def show(finding):
    print(finding)


with meantime.guard(action=show):
    meantime.run(main())
