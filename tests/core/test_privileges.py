"""A server that starts as root and gives its rights up, before or while its loop runs.

The kernel keeps with a ring who made it. The ring is only asked when something is ready; every
`accept4`, `bind` and `connect` is a call of the process, with the rights that it has then.
"""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")

NOBODY = 65534

PROGRAM = """
import asyncio, os, socket, sys, threading
# Imported late otherwise, and this Python may lie where only root may read.
import concurrent.futures.thread, encodings.idna
import meantime

backend, when = sys.argv[1:]

def become_nobody():
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)

async def answer(reader, writer):
    while data := await reader.read(100):
        writer.write(data)
        await writer.drain()
    writer.close()

async def ask(address, connection=None):
    reader, writer = connection or await asyncio.open_connection(*address)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    return reader, writer

async def end(connection):
    connection[1].close()
    await connection[1].wait_closed()

async def main():
    loop = asyncio.get_running_loop()
    before = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = before.sockets[0].getsockname()
    early = await ask(address)
    if when == "running":
        become_nobody()
    assert os.geteuid() == 65534
    # What was open goes on, what was listening accepts, and new things can be begun.
    await ask(address, early)
    late = await ask(address)
    after = await asyncio.start_server(answer, "127.0.0.1", 0)
    third = await ask(after.sockets[0].getsockname())
    here, there = socket.socketpair()
    heard = loop.create_future()
    loop.add_reader(here, lambda: heard.done() or heard.set_result(here.recv(10)))
    there.send(b"x")
    assert await heard == b"x"
    loop.remove_reader(here)
    here.close()
    there.close()
    assert await asyncio.to_thread(os.getuid) == 65534
    try:
        await asyncio.start_server(answer, "127.0.0.1", 80)
    except PermissionError:
        pass
    else:
        # A machine may let everybody have low ports.
        assert int(open("/proc/sys/net/ipv4/ip_unprivileged_port_start").read()) <= 80
    for connection in (early, late, third):
        await end(connection)
    for server in (before, after):
        server.close()
        await server.wait_closed()

loop = meantime.EventLoop(backend=backend)
if when == "after making the loop":
    become_nobody()
if when == "after a first run":
    loop.run_until_complete(asyncio.sleep(0))
    become_nobody()
loop.run_until_complete(main())
if when == "running":
    # Another thread needs a new ring, which nobody may make too.
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.sleep(0.01)))
    thread.start()
    thread.join()
loop.run_until_complete(loop.shutdown_default_executor())
loop.close()
print(loop._backend, os.getresuid())
"""


@pytest.mark.parametrize("when", ["after making the loop", "after a first run", "running"])
def test_a_loop_goes_on_after_its_process_became_nobody(backend, when):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, backend, when],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.stderr == ""
    assert done.stdout.strip() == f"{backend} ({NOBODY}, {NOBODY}, {NOBODY})"
