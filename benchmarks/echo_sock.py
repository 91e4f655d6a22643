"""How many messages a second are echoed by sock_accept, sock_recv and sock_sendall?"""

from __future__ import annotations

import asyncio
import socket
from asyncio import AbstractEventLoop
from contextlib import suppress

from network import BACKLOG, Server, ask_network, network_command_line

READ_BYTES_MAX = 65_536


async def echo(loop: AbstractEventLoop, connection: socket.socket) -> None:
    # The client may end in the middle of an exchange.
    with connection, suppress(ConnectionError):
        while data := await loop.sock_recv(connection, READ_BYTES_MAX):
            await loop.sock_sendall(connection, data)


async def accept_all(loop: AbstractEventLoop, listener: socket.socket) -> None:
    running: set[asyncio.Task[None]] = set()
    while True:
        connection, _ = await loop.sock_accept(listener)
        connection.setblocking(False)
        task = loop.create_task(echo(loop, connection))
        running.add(task)
        task.add_done_callback(running.discard)


async def start(loop: AbstractEventLoop, _path: str) -> Server:
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    listener.setblocking(False)
    accepting = loop.create_task(accept_all(loop, listener))
    return ("--tcp", str(listener.getsockname()[1])), accepting


if __name__ == "__main__":
    ask_network(network_command_line(__doc__).parse_args(), start)
