"""asyncpg: a compiled client with a protocol of its own, against a real PostgreSQL server."""

import asyncio
import contextlib

import asyncpg
import pytest

pytestmark = pytest.mark.slow


@contextlib.asynccontextmanager
async def connection_to(port):
    connection = await asyncpg.connect(
        host="127.0.0.1", port=port, user="tester", database="postgres"
    )
    try:
        yield connection
    finally:
        await connection.close()


def test_a_query_returns_typed_rows(run, postgres_port):
    async def main():
        async with connection_to(postgres_port) as connection:
            return await connection.fetch(
                "SELECT n, n::text AS word FROM generate_series(1, $1::int) n", 5000
            )

    assert [tuple(row) for row in run(main())] == [(n, str(n)) for n in range(1, 5001)]


def test_a_failed_transaction_leaves_nothing(run, postgres_port):
    async def insert_two(connection):
        async with connection.transaction():
            await connection.execute("INSERT INTO item VALUES (100)")
            await connection.execute("INSERT INTO item VALUES (1)")

    async def main():
        async with connection_to(postgres_port) as connection:
            await connection.execute("CREATE TEMPORARY TABLE item (number int PRIMARY KEY)")
            await connection.executemany("INSERT INTO item VALUES ($1)", [(n,) for n in range(100)])
            with pytest.raises(asyncpg.UniqueViolationError):
                await insert_two(connection)
            return await connection.fetchval("SELECT count(*) FROM item")

    assert run(main()) == 100


def test_a_pool_serves_more_tasks_than_it_has_connections(run, postgres_port):
    async def main():
        async with asyncpg.create_pool(
            host="127.0.0.1",
            port=postgres_port,
            user="tester",
            database="postgres",
            min_size=2,
            max_size=4,
        ) as pool:
            return await asyncio.gather(*[pool.fetchval("SELECT $1::int", n) for n in range(40)])

    assert run(main()) == list(range(40))


def test_a_cancelled_query_leaves_the_connection_usable(run, postgres_port):
    """asyncpg asks the server over a second connection to stop the query."""

    async def main():
        async with connection_to(postgres_port) as connection:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await connection.execute("SELECT pg_sleep(30)")
            return await connection.fetchval("SELECT 'still here'")

    assert run(main()) == "still here"


def test_a_listener_is_notified(run, postgres_port):
    async def main():
        heard = asyncio.Queue()
        async with (
            connection_to(postgres_port) as listener,
            connection_to(postgres_port) as speaker,
        ):
            await listener.add_listener("news", lambda *notice: heard.put_nowait(notice[-1]))
            for word in ("one", "two"):
                await speaker.execute("SELECT pg_notify('news', $1)", word)
            return [await heard.get(), await heard.get()]

    assert run(main()) == ["one", "two"]


def test_copy_moves_many_rows_both_ways(run, postgres_port):
    rows = [(n, f"row {n}" * 20) for n in range(20_000)]

    async def main():
        async with connection_to(postgres_port) as connection:
            await connection.execute("CREATE TEMPORARY TABLE item (number int, word text)")
            await connection.copy_records_to_table("item", records=rows)
            received = bytearray()

            async def receive(data):
                received.extend(data)

            await connection.copy_from_query("SELECT * FROM item ORDER BY number", output=receive)
            return bytes(received)

    assert run(main()).decode() == "".join(f"{n}\t{word}\n" for n, word in rows)
