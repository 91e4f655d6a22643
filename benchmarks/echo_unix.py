"""How many messages a second does an echo server on a Unix socket answer?"""

from __future__ import annotations

from asyncio import AbstractEventLoop

from network import BACKLOG, Echo, Server, ask_network, network_command_line


async def start(loop: AbstractEventLoop, path: str) -> Server:
    server = await loop.create_unix_server(Echo, path, backlog=BACKLOG)
    return ("--unix", path), server


if __name__ == "__main__":
    ask_network(network_command_line(__doc__).parse_args(), start, kind="unix")
