"""How many requests a second does an aiohttp server answer with a short text?"""

from __future__ import annotations

from asyncio import AbstractEventLoop

from aiohttp import web
from network import BACKLOG, Server
from wrk import HELLO, ask_wrk


async def hello(_request: web.Request) -> web.Response:
    return web.Response(text=HELLO.decode())


async def start(_loop: AbstractEventLoop, _path: str) -> Server:
    application = web.Application()
    application.router.add_get("/", hello)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=BACKLOG).start()
    return ("--tcp", str(runner.addresses[0][1])), runner


if __name__ == "__main__":
    ask_wrk(__doc__, start)
