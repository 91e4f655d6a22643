"""How many queries a second do clients make of PostgreSQL with asyncpg?

Each of `--tasks` tasks has a connection and one query on its way. The server has the other core, so
what a loop can win is the client's part of a round trip.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop

import asyncpg
from harness import Laps, ask
from services import service

LAP_QUERIES = 100
QUERIES = {1: "SELECT 1", 100: "SELECT n, n * 2 AS twice FROM generate_series(1, 100) n"}


async def query_laps(laps: Laps, port: int, tasks: int, rows: int) -> None:
    connections = [
        await asyncpg.connect(
            host="127.0.0.1", port=port, user="tester", database="postgres", ssl=False
        )
        for _ in range(tasks)
    ]

    async def ask_some(connection: asyncpg.Connection) -> None:
        for _ in range(LAP_QUERIES // tasks):
            answer = await connection.fetch(QUERIES[rows])
            if len(answer) != rows:
                raise RuntimeError(f"the answer has {len(answer)} rows, not {rows}")

    while True:
        await asyncio.gather(*map(ask_some, connections))
        if not laps.more():
            break
    for connection in connections:
        await connection.close()


def measure(loop: AbstractEventLoop, laps: Laps, *, port: int, tasks: int, rows: int) -> float:
    with service("postgres", port) as served:
        loop.run_until_complete(query_laps(laps, served, tasks, rows))
    return laps.per_second(LAP_QUERIES // tasks * tasks)


if __name__ == "__main__":
    ask(__doc__, measure, port=0, tasks=1, rows=1)
