"""A chat server, its guests, and a conversation.

python chat.py                            a server and three guests in this one program
python chat.py serve 8888                 a server for others
python chat.py join 127.0.0.1 8888 Ada    a guest: type a line, press Enter; Ctrl-D leaves
"""

import asyncio
import contextlib
import sys

import meantime


class Room:
    """Everyone who is here. What one says, all the others hear."""

    def __init__(self):
        self.writers = {}

    async def welcome(self, reader, writer):
        """Serve one guest, from the first line (the name) to the last."""
        name = (await reader.readline()).decode().strip()
        self.writers[name] = writer
        await self.tell(f"* {name} comes in")
        try:
            # The loop ends when the guest closes the connection.
            async for line in reader:
                await self.tell(f"{name}: {line.decode().strip()}", but=name)
        except ConnectionError:
            pass  # the guest left without a goodbye
        finally:
            del self.writers[name]
            await self.tell(f"* {name} leaves")
            writer.close()

    async def tell(self, text, but=None):
        """Send a line to everyone, except to the one who said it."""
        for name, writer in list(self.writers.items()):
            if name != but:
                writer.write(f"{text}\n".encode())
                # A guest who reads slowly holds us up here, rather than filling the memory.
                with contextlib.suppress(ConnectionError):
                    await writer.drain()


class Guest:
    """One side of a conversation, for the program that plays all the parts."""

    def __init__(self, name, port):
        self.name, self.port = name, port

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        await self.say(self.name)
        await self.hear()  # "* … comes in": now the server knows us
        return self

    async def __aexit__(self, *error):
        self.writer.close()
        await self.writer.wait_closed()

    async def say(self, text):
        self.writer.write(f"{text}\n".encode())
        await self.writer.drain()

    async def hear(self):
        line = (await self.reader.readline()).decode().strip()
        print(f"{self.name:>6} hears  {line}")


async def conversation():
    """Play a short conversation: each line waits for the one before, so it is always the same."""
    server = await asyncio.start_server(Room().welcome, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Guest("Ada", port) as ada:
        async with Guest("Brian", port) as brian:
            await ada.hear()
            async with Guest("Chiara", port) as chiara:
                await ada.hear()
                await brian.hear()

                await ada.say("Shall we have lunch?")
                await brian.hear()
                await chiara.hear()

                await chiara.say("In the meantime, yes.")
                await ada.hear()
                await brian.hear()
            await ada.hear()
            await brian.hear()
        await ada.hear()


async def serve(port):
    server = await asyncio.start_server(Room().welcome, "0.0.0.0", port)
    print(f"The room is open on port {port}. Ctrl-C closes it.")
    async with server:
        await server.serve_forever()


async def join(host, port, name):
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"{name}\n".encode())
    listening = asyncio.create_task(listen(reader))
    # input() would stop the whole program until Enter is pressed. In a thread it stops only that.
    while line := await asyncio.to_thread(sys.stdin.readline):
        writer.write(line.encode())
        await writer.drain()
    listening.cancel()
    writer.close()
    await writer.wait_closed()


async def listen(reader):
    async for line in reader:
        print(line.decode(), end="")
    print("The room is closed. Press Enter.")


def program(arguments):
    """Return what the command line asks for."""
    match arguments:
        case []:
            return conversation()
        case ["serve", port]:
            return serve(int(port))
        case ["join", host, port, name]:
            return join(host, int(port), name)
    sys.exit(__doc__)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        meantime.run(program(sys.argv[1:]))
