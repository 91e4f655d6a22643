"""uvicorn takes an event loop by name on its command line."""

import asyncio
import signal
import urllib.request

import httpx
import pytest
import uvicorn

from tests.ecosystem.asgi_app import app
from tests.ecosystem.servers import accepts_connections, free_port, python_program, wait_until

pytestmark = pytest.mark.slow


def get(port, path="/", data=None):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=10) as response:
        return response.read()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_uvicorn_serves_and_shuts_down_on_a_signal(backend, stop):
    """A process manager stops a server with SIGTERM, a person with Ctrl-C."""
    port = free_port()
    arguments = ["asgi_app:app", "--loop", "meantime:new_event_loop", "--port", str(port)]
    with python_program("-m", "uvicorn", *arguments, backend=backend) as process:
        wait_until(lambda: accepts_connections(port), process)
        assert get(port) == b"meantime.EventLoop"
        assert get(port, "/echo", b"x" * 300_000) == b"x" * 300_000

        process.send_signal(stop)
        printed, _ = process.communicate(timeout=10)
    assert "lifespan.shutdown" in printed
    assert "Finished server process" in printed
    assert "Traceback" not in printed
    # uvicorn raises the signal once more after its clean-up, so that its parent sees why it ended.
    assert process.returncode in (0, -stop)


def test_uvicorn_runs_inside_a_program_of_ours(run):
    async def main():
        config = uvicorn.Config(app, port=0, log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]

        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            answers = await asyncio.gather(
                *[client.post("/echo", content=bytes([n]) * 10_000) for n in range(20)]
            )
        server.should_exit = True
        await serving
        return [answer.content for answer in answers]

    assert run(main()) == [bytes([n]) * 10_000 for n in range(20)]
