"""How many commands a second do clients give to Redis with redis-py?

Each of `--tasks` tasks has a connection, and sets a key and gets it: one command after the other
with `--batch 1`, else so many in one pipeline. The server has the other core.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop

from harness import Laps, ask
from redis.asyncio import Redis
from services import service

LAP_COMMANDS = 200
VALUE = b"v" * 64


async def set_and_get(client: Redis, key: str) -> None:
    await client.set(key, VALUE)
    if await client.get(key) != VALUE:
        raise RuntimeError("Redis returned another value than it was given")


async def set_and_get_in_pipeline(client: Redis, key: str, batch: int) -> None:
    pipeline = client.pipeline(transaction=False)
    for _ in range(batch // 2):
        pipeline.set(key, VALUE)
        pipeline.get(key)
    answers = await pipeline.execute()
    if answers[1::2] != [VALUE] * (batch // 2):
        raise RuntimeError("Redis returned other values than it was given")


async def command_laps(laps: Laps, port: int, tasks: int, batch: int) -> None:
    clients = [Redis(host="127.0.0.1", port=port) for _ in range(tasks)]

    async def give_some(client: Redis, key: str) -> None:
        if batch > 1:
            await set_and_get_in_pipeline(client, key, batch)
            return
        for _ in range(LAP_COMMANDS // tasks // 2):
            await set_and_get(client, key)

    while True:
        await asyncio.gather(*(give_some(client, f"key {at}") for at, client in enumerate(clients)))
        if not laps.more():
            break
    for client in clients:
        await client.aclose()


def measure(loop: AbstractEventLoop, laps: Laps, *, port: int, tasks: int, batch: int) -> float:
    with service("redis", port) as served:
        loop.run_until_complete(command_laps(laps, served, tasks, batch))
    a_task = batch // 2 * 2 if batch > 1 else LAP_COMMANDS // tasks // 2 * 2
    return laps.per_second(a_task * tasks)


if __name__ == "__main__":
    ask(__doc__, measure, port=0, tasks=1, batch=1)
