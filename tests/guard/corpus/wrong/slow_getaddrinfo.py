import asyncio
import socket
import sysconfig

# As a name server that is far away: it is not the program's own code that waits.
SLOW = """
import time

def slow(*args):
    time.sleep(0.3)
    return real(*args)
"""
names = {"real": socket._socket.getaddrinfo}
exec(compile(SLOW, sysconfig.get_path("stdlib") + "/far_away.py", "exec"), names)
socket._socket.getaddrinfo = names["slow"]


async def main():
    socket.getaddrinfo("127.0.0.1", 80)  # wrong: blocked socket.getaddrinfo -> loop.getaddrinfo


asyncio.run(main())
