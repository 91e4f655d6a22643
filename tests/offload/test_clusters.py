"""A call on a cluster: real ones on this machine, of two worker processes.

Each program runs in a process of its own, since a cluster's client keeps threads and connections.
"""

import os
import subprocess
import sys
import textwrap

import pytest

import meantime

pytestmark = pytest.mark.slow


def run_program(head, body, backend, tmp_path):
    """Run a program whose main() has `cluster`, and return what it printed."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(head).replace("BODY", textwrap.indent(body, " " * 8).strip())
    )
    done = subprocess.run(
        [sys.executable, str(program)],
        env=os.environ | {"MEANTIME_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


DASK = """
import asyncio, os, time
from pathlib import Path
import distributed, meantime

def square(number):
    time.sleep(0.05)
    return number * number, os.getpid()

def invert(number):
    return 1 / number

def note(path):
    Path(path).write_text("begun")

async def main():
    async with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, asynchronous=True
    ) as local, meantime.connect_cluster(local.scheduler_address) as cluster:
        BODY

if __name__ == "__main__":
    meantime.run(main())
"""


@pytest.fixture
def on_dask(backend, tmp_path):
    pytest.importorskip("distributed")
    return lambda body: run_program(DASK, textwrap.dedent(body), backend, tmp_path)


@pytest.mark.timeout(120)
def test_the_same_call_runs_on_dask(on_dask):
    printed = on_dask(
        """
        calls = (meantime.offload(square, number, where=cluster) for number in range(8))
        results = await asyncio.gather(*calls)
        print([result for result, _ in results])
        print(len({pid for _, pid in results} - {os.getpid()}))
        print(await meantime.to_cluster(pow, 2, 5, cluster=cluster, mod=7))
        try:
            await meantime.to_cluster(invert, 0, cluster=cluster)
        except ZeroDivisionError as error:
            print(error)
        items = meantime.offload_map(abs, range(-500, 0), where=cluster)
        print(sum([result async for result in items]))
        items = meantime.offload_map(invert, [0], where=cluster, return_exceptions=True)
        print([type(result).__name__ async for result in items])
        """
    )
    assert printed == [
        "[0, 1, 4, 9, 16, 25, 36, 49]",
        "2",
        "4",
        "division by zero",
        "125250",
        "['ZeroDivisionError']",
    ]


LATE = (
    "note took longer than its timeout of 0.2 s on the cluster, and was taken back. "
    "Give it more time, or less to do."
)


@pytest.mark.timeout(120)
def test_what_is_cancelled_or_late_is_taken_back_from_dask(on_dask, tmp_path):
    """What has begun goes on: Dask cannot end it. What has not begun never does."""
    printed = on_dask(
        f"""
        busy = [asyncio.ensure_future(meantime.offload(time.sleep, 2, where=cluster))
                for _ in range(2)]
        await asyncio.sleep(0.5)
        path = {str(tmp_path / "note")!r}
        job = asyncio.ensure_future(meantime.offload(note, path, where=cluster))
        await asyncio.sleep(0.2)
        job.cancel()
        try:
            await job
        except asyncio.CancelledError:
            print("cancelled")
        try:
            await meantime.offload(note, path, where=cluster, timeout=0.2)
        except TimeoutError as error:
            print(error)
        await asyncio.gather(*busy)
        await meantime.offload(square, 1, where=cluster)
        print(Path(path).exists())
        """
    )
    assert printed == [
        "cancelled",
        LATE,
        "False",
    ]


@pytest.mark.timeout(120)
def test_a_client_of_dask_that_blocks_serves_as_well(on_dask):
    printed = on_dask(
        """
        client = await asyncio.to_thread(distributed.Client, local.scheduler_address)
        print(await meantime.offload(pow, 2, 5, where=client))
        try:
            await meantime.offload(invert, 0, where=client)
        except ZeroDivisionError as error:
            print(error)
        try:
            await meantime.offload(time.sleep, 2, where=client, timeout=0.2)
        except TimeoutError:
            print("late")
        await asyncio.to_thread(client.close)
        """
    )
    assert printed == ["32", "division by zero", "late"]


UNREACHABLE = """
import meantime

async def main():
    try:
        BODY
    except ConnectionError as error:
        print(error)

meantime.run(main())
"""


@pytest.mark.parametrize(
    ("address", "module"), [("tcp://127.0.0.1:9", "distributed"), ("ray://127.0.0.1:9", "ray")]
)
def test_a_cluster_that_cannot_be_reached_is_a_clear_error(backend, tmp_path, address, module):
    pytest.importorskip(module)
    body = f"await meantime.connect_cluster({address!r}, timeout=0.5).__aenter__()"
    (printed,) = run_program(UNREACHABLE, body, backend, tmp_path)
    assert printed.startswith(f"the cluster at {address!r} cannot be reached: ")
    assert printed.endswith("Look whether its scheduler runs there and lets this machine in.")


@pytest.mark.parametrize(
    ("address", "module", "extra"),
    [("tcp://127.0.0.1:9", "distributed", "dask"), ("ray://127.0.0.1:9", "ray", "ray")],
)
def test_a_client_that_is_missing_is_named_with_what_to_install(
    any_loop, monkeypatch, address, module, extra
):
    monkeypatch.setitem(sys.modules, module, None)

    async def main():
        async with meantime.connect_cluster(address):
            pass

    with pytest.raises(ModuleNotFoundError, match=rf"meantime\[{extra}\]"):
        any_loop.run_until_complete(main())


RAY = """
import asyncio, os, time
from pathlib import Path
import meantime

def square(number):
    return number * number

def invert(number):
    return 1 / number

def spin(path):
    Path(path).write_text(str(os.getpid()))
    while True:
        pass

def die():
    os._exit(3)

async def main():
    async with meantime.connect_cluster("ray") as cluster:
        BODY

if __name__ == "__main__":
    meantime.run(main())
"""


@pytest.mark.timeout(120)
def test_the_same_call_runs_on_ray_and_cancelling_ends_it(backend, tmp_path):
    pytest.importorskip("ray")
    printed = run_program(
        RAY,
        textwrap.dedent(
            f"""
            print(await meantime.to_cluster(square, 5, cluster=cluster))
            try:
                await meantime.to_cluster(invert, 0, cluster=cluster)
            except ZeroDivisionError as error:
                print("division by zero" in str(error))
            items = meantime.offload_map(abs, range(-100, 0), where=cluster)
            print(sum([result async for result in items]))
            path = Path({str(tmp_path / "pid")!r})
            job = asyncio.ensure_future(meantime.to_cluster(spin, path, cluster=cluster))
            while not (path.exists() and path.read_text()):
                await asyncio.sleep(0.05)
            job.cancel()
            try:
                await job
            except asyncio.CancelledError:
                print("cancelled")
            pid = path.read_text()
            for _ in range(200):
                if not Path("/proc", pid).exists():
                    break
                await asyncio.sleep(0.05)
            print(Path("/proc", pid).exists())
            try:
                await meantime.to_cluster(die, cluster=cluster)
            except Exception as error:
                print(type(error).__name__)
            """
        ),
        backend,
        tmp_path,
    )
    printed = [line for line in printed if "(raylet)" not in line]
    assert printed == ["25", "True", "5050", "cancelled", "False", "WorkerCrashedError"]
