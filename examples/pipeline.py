"""Fetch pages, read a book out of each, and store the books: three stages that work at once.

python pipeline.py
python pipeline.py --pages 500 --database books.sqlite3
python pipeline.py --database postgresql://user:password@localhost/shop

Needs aiohttp, SQLAlchemy and a driver: pip install aiohttp "sqlalchemy[asyncio]" aiosqlite, and
asyncpg for PostgreSQL. Without --database the books go to an SQLite file that is thrown away. The
pages come from a small web shop that this program starts itself; each takes 50 milliseconds.

Run again on the same database, it fetches only what is missing there.
"""

import argparse
import asyncio
import contextlib
import html.parser
import random
import tempfile
import time
from pathlib import Path

import aiohttp
import sqlalchemy
from aiohttp import web
from sqlalchemy.ext.asyncio import create_async_engine

import meantime

ANSWER_TIME_S = 0.05
FETCHES_AT_ONCE = 20
BATCH_SIZE = 50

books = sqlalchemy.Table(
    "book",
    sqlalchemy.MetaData(),
    sqlalchemy.Column("number", sqlalchemy.Integer, primary_key=True, autoincrement=False),
    sqlalchemy.Column("title", sqlalchemy.String(200), nullable=False),
    sqlalchemy.Column("price_cents", sqlalchemy.Integer, nullable=False),
)


# --- The shop -------------------------------------------------------------------------------------


async def show_book(request):
    await asyncio.sleep(ANSWER_TIME_S)
    number = int(request.match_info["number"])
    cents = random.Random(number).randrange(500, 5000)
    page = (
        f"<html><h1>Book &amp; Co, volume {number}</h1><b class=price>{cents / 100:.2f}</b></html>"
    )
    return web.Response(text=page, content_type="text/html")


@contextlib.asynccontextmanager
async def running_shop():
    """Start the shop on a free port, and yield its address."""
    app = web.Application()
    app.router.add_get("/{number}", show_book)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


# --- The stages -----------------------------------------------------------------------------------


async def fetch(session, address, number):
    async with session.get(f"{address}/{number}") as response:
        response.raise_for_status()
        return number, await response.text()


async def fetch_all(address, numbers, pages):
    """Put the pages into a queue as they come. It is bounded, so that slow readers slow this."""
    async with aiohttp.ClientSession() as session:
        fetching = (fetch(session, address, number) for number in numbers)
        async for fetched in meantime.as_completed(fetching, limit=FETCHES_AT_ONCE):
            await pages.put(fetched.result())
    pages.shutdown()


class BookReader(html.parser.HTMLParser):
    """Takes the title and the price out of a page."""

    def __init__(self):
        super().__init__()
        self.tag = ""
        self.found = {"h1": "", "b": ""}

    def handle_starttag(self, tag, _attributes):
        self.tag = tag

    def handle_endtag(self, _tag):
        self.tag = ""

    def handle_data(self, data):
        if self.tag in self.found:
            self.found[self.tag] += data


def parse(number, page):
    reader = BookReader()
    reader.feed(page)
    price_cents = round(float(reader.found["b"]) * 100)
    return {"number": number, "title": reader.found["h1"], "price_cents": price_cents}


async def parse_all(pages, parsed):
    """Read the pages in a thread: a long one would hold up everything else."""
    with contextlib.suppress(meantime.QueueShutDown):
        while True:
            number, page = await pages.get()
            await parsed.put(await meantime.to_thread(parse, number, page))
    parsed.shutdown()


async def store_all(engine, parsed):
    """Store the books in batches, each in a transaction. Returns how many."""
    stored = 0
    while batch := await next_batch(parsed):
        async with engine.begin() as connection:
            await connection.execute(books.insert(), batch)
        stored += len(batch)
    return stored


async def next_batch(queue):
    """Return what is in the queue, BATCH_SIZE at most; nothing after its end."""
    batch = []
    with contextlib.suppress(meantime.QueueShutDown, meantime.QueueEmpty):
        batch.append(await queue.get())
        while len(batch) < BATCH_SIZE:
            batch.append(queue.get_nowait())
    return batch


# --- The program ----------------------------------------------------------------------------------


async def missing_numbers(engine, count):
    """Make the table where it is not there, and return which books are not in it."""
    async with engine.begin() as connection:
        await connection.run_sync(books.metadata.create_all)
        there = set(await connection.scalars(sqlalchemy.select(books.c.number)))
    return [number for number in range(count) if number not in there]


async def run_pipeline(engine, count):
    numbers = await missing_numbers(engine, count)
    started = time.monotonic()
    pages, parsed = meantime.Queue(BATCH_SIZE), meantime.Queue(BATCH_SIZE)
    async with running_shop() as address, meantime.TaskGroup() as group:
        group.create_task(fetch_all(address, numbers, pages))
        group.create_task(parse_all(pages, parsed))
        storing = group.create_task(store_all(engine, parsed))
    took_s = time.monotonic() - started
    one_by_one_s = len(numbers) * ANSWER_TIME_S
    print(f"{storing.result()} books fetched, read and stored in {took_s:.2f} s")
    print(f"(one after the other, the shop alone takes {one_by_one_s:.2f} s)")


async def main(url, count):
    engine = create_async_engine(url)
    try:
        await run_pipeline(engine, count)
        async with engine.connect() as connection:
            columns = sqlalchemy.func.count(), sqlalchemy.func.sum(books.c.price_cents)
            number, cents = (await connection.execute(sqlalchemy.select(*columns))).one()
        print(f"{number} books in the database, worth {(cents or 0) / 100:.2f}")
    finally:
        await engine.dispose()


def database_url(database):
    """Return what SQLAlchemy calls a database that was named by its path or by its URL."""
    scheme, found, rest = database.partition("://")
    if not found:
        return f"sqlite+aiosqlite:///{database}"
    drivers = {"postgresql": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}
    return f"{drivers.get(scheme, scheme)}://{rest}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fetch, read and store books.")
    parser.add_argument("--pages", type=int, default=200, help="how many books (200)")
    parser.add_argument("--database", help="the path of an SQLite file, or postgresql://…")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = options.database or str(Path(folder) / "books.sqlite3")
        meantime.run(main(database_url(database), options.pages))
