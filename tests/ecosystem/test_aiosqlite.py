"""aiosqlite: SQLite in a thread for each connection, which answers by call_soon_threadsafe."""

import asyncio
import contextlib
import sqlite3
import threading

import aiosqlite
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "database.sqlite3"
    # A connection that is not closed by `with` alone: that only ends its transaction.
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE item (number INTEGER PRIMARY KEY, text TEXT)")
    return path


def test_rows_come_back_as_they_went_in(run, database):
    rows = [(number, str(number)) for number in range(1000)]

    async def main():
        async with aiosqlite.connect(database) as connection:
            await connection.executemany("INSERT INTO item VALUES (?, ?)", rows)
            await connection.commit()
            async with connection.execute("SELECT * FROM item ORDER BY number") as cursor:
                return [row async for row in cursor]

    assert run(main()) == rows


def test_connections_read_beside_one_that_writes(run, database):
    async def read(number):
        async with aiosqlite.connect(database) as connection:
            rows = await connection.execute_fetchall("SELECT ?, count(*) FROM item", (number,))
            return tuple(rows[0])

    async def main():
        async with aiosqlite.connect(database) as writer:
            await writer.execute("INSERT INTO item VALUES (1, 'not committed')")
            counts = await asyncio.gather(*[read(number) for number in range(10)])
            await writer.commit()
            return counts, await read(10)

    counts, afterwards = run(main())
    assert counts == [(number, 0) for number in range(10)]
    assert afterwards == (10, 1)


def test_a_slow_query_holds_up_nobody(run, database):
    """The query counts until it is interrupted, which only a free loop can ask for."""
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT sum(x) FROM n"

    async def main():
        async with aiosqlite.connect(database) as connection:
            counting = asyncio.create_task(connection.execute_fetchall(endless))
            turns = 0
            while turns < 1000:
                await asyncio.sleep(0)
                turns += 1
            # Before the thread has begun the query there is nothing to interrupt.
            while not counting.done():
                await connection.interrupt()
                await asyncio.sleep(0)
            with pytest.raises(sqlite3.OperationalError, match="interrupted"):
                await counting

    run(main())


def test_a_cancelled_query_leaves_the_connection_usable(run, database):
    async def main():
        async with aiosqlite.connect(database) as connection:
            asking = asyncio.create_task(connection.execute_fetchall("SELECT 1"))
            await asyncio.sleep(0)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            return await connection.execute_fetchall("SELECT 2")

    assert [tuple(row) for row in run(main())] == [(2,)]


def test_a_closed_connection_leaves_no_thread(run, database):
    async def main():
        before = threading.active_count()
        async with aiosqlite.connect(database):
            during = threading.active_count()
        return before, during

    before, during = run(main())
    assert during == before + 1
    assert threading.active_count() == before
