"""Fetch many web pages: first one after the other, then all at once.

python fetch_many.py
python fetch_many.py --requests 50

Needs aiohttp: pip install aiohttp. The pages come from a small web server that this program starts
itself; each takes 50 milliseconds, as a page from far away would.
"""

import argparse
import asyncio
import time

import aiohttp
from aiohttp import web

import meantime

ANSWER_TIME_S = 0.05


async def answer(request):
    await asyncio.sleep(ANSWER_TIME_S)
    return web.Response(text=f"page {request.match_info['number']}")


async def start_server():
    """Start the web server on a free port, and return it with its address."""
    app = web.Application()
    app.router.add_get("/{number}", answer)
    server = web.AppRunner(app)
    await server.setup()
    # Room for all who knock at once. Whoever finds none (128 is usual) knocks again after a second.
    await web.TCPSite(server, "127.0.0.1", 0, backlog=1024).start()
    host, port = server.addresses[0]
    return server, f"http://{host}:{port}"


async def fetch(session, url):
    async with session.get(url) as response:
        return await response.text()


async def one_by_one(session, urls):
    return [await fetch(session, url) for url in urls]


async def all_at_once(session, urls):
    return await asyncio.gather(*[fetch(session, url) for url in urls])


async def timed(label, fetching):
    """Wait for the pages, print how long it took, and return them."""
    started = time.monotonic()
    pages = await fetching
    print(f"{label}: {len(pages)} pages in {time.monotonic() - started:.2f} s")
    return pages


async def main(count):
    server, address = await start_server()
    urls = [f"{address}/{number}" for number in range(count)]
    try:
        # aiohttp opens 100 connections at most unless told otherwise.
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            slow = await timed("one by one ", one_by_one(session, urls))
            fast = await timed("all at once", all_at_once(session, urls))
    finally:
        await server.cleanup()
    print("The pages are the same." if slow == fast else "The pages differ!")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fetch many pages, one by one and all at once.")
    parser.add_argument("--requests", type=int, default=200, help="how many pages (200)")
    meantime.run(main(parser.parse_args().requests))
