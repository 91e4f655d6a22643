"""How many requests a second does uvicorn answer with a FastAPI application?

uvicorn reads HTTP with httptools, and writes no access log.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop

import uvicorn
from fastapi import FastAPI
from network import BACKLOG, Server
from wrk import HELLO, ask_wrk

application = FastAPI()


@application.get("/")
async def hello() -> dict[str, str]:
    return {"message": HELLO.decode()}


async def start(loop: AbstractEventLoop, _path: str) -> Server:
    config = uvicorn.Config(
        application,
        host="127.0.0.1",
        port=0,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        backlog=BACKLOG,
        log_level="warning",
        access_log=False,
    )
    server = uvicorn.Server(config)
    serving = loop.create_task(server.serve())
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if serving.done():
        serving.result()
        raise RuntimeError("uvicorn ended without an error, before it had started")
    port = server.servers[0].sockets[0].getsockname()[1]
    return ("--tcp", str(port)), serving


if __name__ == "__main__":
    ask_wrk(__doc__, start)
