"""A pool of processes beside a running loop, however Python starts them; each runs its own loop."""

import multiprocessing
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, concurrent.futures, multiprocessing, os, sys, warnings
import meantime


async def echo():
    async def answer(reader, writer):
        writer.write(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello")
        got = await reader.read()
        writer.close()
        await writer.wait_closed()
    return got


def work(number):
    return os.getpid(), meantime.run(echo())


async def main(method):
    loop = asyncio.get_running_loop()
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        jobs = [loop.run_in_executor(pool, work, number) for number in range(4)]
        # The parent's own loop works meanwhile.
        assert await echo() == b"hello"
        for pid, got in await asyncio.gather(*jobs):
            assert pid != os.getpid()
            assert got == b"hello"
    assert await echo() == b"hello"


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads around
    method, backend = sys.argv[1:]
    os.environ["MEANTIME_BACKEND"] = backend
    meantime.run(main(method))
    print("done")
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_worker_processes_may_run_loops_of_their_own(backend, tmp_path, method):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(program), method, backend], capture_output=True, text=True, timeout=55
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"
