"""psycopg 3: libpq's socket, watched by add_reader and add_writer, against a real PostgreSQL."""

import asyncio
import contextlib

import psycopg
import pytest

pytestmark = pytest.mark.slow


@contextlib.asynccontextmanager
async def connection_to(port):
    connection = await psycopg.AsyncConnection.connect(
        host="127.0.0.1", port=port, user="tester", dbname="postgres", autocommit=True
    )
    async with connection:
        yield connection


async def fetch_all(connection, query, *arguments):
    return await (await connection.execute(query, arguments)).fetchall()


def test_a_query_returns_typed_rows(run, postgres_port):
    async def main():
        async with connection_to(postgres_port) as connection:
            query = "SELECT n, n::text FROM generate_series(1, %s::int) n"
            return await fetch_all(connection, query, 5000)

    assert run(main()) == [(number, str(number)) for number in range(1, 5001)]


def test_a_failed_transaction_leaves_nothing(run, postgres_port):
    async def insert_twice(connection):
        async with connection.transaction():
            await connection.execute("INSERT INTO item VALUES (1)")
            await connection.execute("INSERT INTO item VALUES (1)")

    async def main():
        async with connection_to(postgres_port) as connection:
            await connection.execute("CREATE TEMPORARY TABLE item (number int PRIMARY KEY)")
            with pytest.raises(psycopg.errors.UniqueViolation):
                await insert_twice(connection)
            return await fetch_all(connection, "SELECT * FROM item")

    assert run(main()) == []


def test_megabytes_are_copied_in_and_out(run, postgres_port):
    """More than the socket takes at once, both ways: its writer is watched, too."""
    rows = [(number, "x" * 1000) for number in range(8_000)]

    async def main():
        async with connection_to(postgres_port) as connection, connection.cursor() as cursor:
            await cursor.execute("CREATE TEMPORARY TABLE line (number int, text text)")
            async with cursor.copy("COPY line FROM STDIN") as copy:
                for row in rows:
                    await copy.write_row(row)
            async with cursor.copy("COPY (SELECT * FROM line ORDER BY number) TO STDOUT") as copy:
                copy.set_types(["int4", "text"])
                return [row async for row in copy.rows()]

    assert run(main()) == rows


def test_a_pipeline_answers_in_order(run, postgres_port):
    async def main():
        async with connection_to(postgres_port) as connection, connection.pipeline():
            cursors = [await connection.execute("SELECT %s::int", [n]) for n in range(200)]
            return [await cursor.fetchone() for cursor in cursors]

    assert run(main()) == [(number,) for number in range(200)]


def test_connections_wait_side_by_side(run, postgres_port):
    async def ask(number):
        async with connection_to(postgres_port) as connection:
            return await fetch_all(connection, "SELECT %s::int, pg_sleep(0.5)::text", number)

    async def main():
        loop = asyncio.get_running_loop()
        started = loop.time()
        rows = await asyncio.gather(*[ask(number) for number in range(10)])
        return rows, loop.time() - started

    rows, took_s = run(main())
    assert rows == [[(number, "")] for number in range(10)]
    assert took_s < 4


def test_a_cancelled_query_leaves_the_connection_usable(run, postgres_port):
    async def main():
        async with connection_to(postgres_port) as connection:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await connection.execute("SELECT pg_sleep(30)")
            return await fetch_all(connection, "SELECT 'still here'")

    assert run(main()) == [("still here",)]


def test_a_listener_is_notified(run, postgres_port):
    async def main():
        async with connection_to(postgres_port) as hearing, connection_to(postgres_port) as saying:
            await hearing.execute("LISTEN news")
            await saying.execute("NOTIFY news, 'dinner'")
            notices = hearing.notifies(stop_after=1, timeout=30)
            return [(notice.channel, notice.payload) async for notice in notices]

    assert run(main()) == [("news", "dinner")]
