import asyncio
import socket
import time


class Slow(asyncio.Protocol):
    def __init__(self):
        self.ended = asyncio.get_running_loop().create_future()

    def data_received(self, data):
        time.sleep(0.3)  # wrong: blocked time.sleep -> asyncio.sleep
        self.ended.set_result(data)


async def main():
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(Slow, sock=ours)
    theirs.send(b"x")
    await protocol.ended
    transport.close()
    theirs.close()


asyncio.run(main())
