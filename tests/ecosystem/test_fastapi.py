"""FastAPI and Starlette: as their page says, and with what applications do."""

import asyncio
import contextlib
import functools
import hashlib
import io
import threading

import aiohttp
import fastapi
import pytest
import uvicorn
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.testclient import TestClient

import meantime
from tests.ecosystem.pages import (
    Page,
    check_installation,
    check_nothing_is_left_out,
    check_server,
    run_command,
)

PAGE = Page("fastapi")

LARGE = bytes(range(256)) * 40_960  # 10 MiB

pytestmark = pytest.mark.slow


def test_the_page_says_what_to_install():
    check_installation(PAGE)
    check_nothing_is_left_out(PAGE, "uvicorn", "pytest")


@pytest.mark.parametrize("command", PAGE.commands_with("uvicorn"), ids=str)
def test_every_command_of_the_page_serves_on_meantime(command, backend, tmp_path):
    check_server(PAGE, command, backend, tmp_path)


@pytest.mark.parametrize("command", PAGE.commands_with("pytest"), ids=str)
def test_the_tests_of_the_page_pass(command, backend, tmp_path):
    PAGE.write_files(tmp_path)
    done = run_command(command, tmp_path, backend)
    assert "1 passed" in done.stdout


# --- An application with what applications have ---------------------------------------------------


@contextlib.asynccontextmanager
async def lifespan(app):
    app.state.loop = asyncio.get_running_loop()
    app.state.counted = 0
    yield


def make_app(directory):
    app = fastapi.FastAPI(lifespan=lifespan)

    async def counter(request: fastapi.Request):
        request.app.state.counted += 1
        yield request.app.state.counted
        await asyncio.sleep(0)

    @app.get("/loop")
    async def is_loop_of_lifespan(request: fastapi.Request):
        return request.app.state.loop is asyncio.get_running_loop()

    @app.get("/thread")
    def is_another_thread():
        return threading.current_thread() is not threading.main_thread()

    @app.get("/items/{number}")
    async def item(number: int, count: int = fastapi.Depends(counter)):
        await asyncio.sleep(0.01)
        return {"number": number}

    @app.get("/counted")
    async def counted(request: fastapi.Request):
        return request.app.state.counted

    @app.post("/upload")
    async def upload(file: fastapi.UploadFile):
        return hashlib.sha256(await file.read()).hexdigest()

    @app.get("/stream")
    async def stream():
        async def pieces():
            for start in range(0, len(LARGE), 65_536):
                yield LARGE[start : start + 65_536]

        return StreamingResponse(pieces())

    @app.get("/file")
    async def file():
        return FileResponse(directory / "file")

    @app.post("/later")
    async def later(tasks: fastapi.BackgroundTasks):
        tasks.add_task((directory / "written").write_text, "in the background")

    @app.websocket("/talk")
    async def talk(socket: fastapi.WebSocket):
        await socket.accept()
        with contextlib.suppress(fastapi.WebSocketDisconnect):
            while True:
                await socket.send_text((await socket.receive_text()).upper())

    return app


@contextlib.asynccontextmanager
async def session_with(app):
    """Serve the application on the loop that is running, and yield a client session."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    connector = aiohttp.TCPConnector(limit=0)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=connector) as made:
            yield made
    finally:
        server.should_exit = True
        await task


@pytest.fixture
def with_session(run, tmp_path):
    """Run ``what(session)`` against the application, and return what it returns."""
    (tmp_path / "file").write_bytes(LARGE)

    async def main(what):
        async with session_with(make_app(tmp_path)) as session:
            return await what(session)

    return lambda what: run(main(what))


async def get_json(session, path):
    async with session.get(path) as response:
        return await response.json()


def test_the_lifespan_and_the_requests_share_a_loop(with_session):
    assert with_session(lambda session: get_json(session, "/loop")) is True


def test_a_plain_function_runs_in_a_thread(with_session):
    assert with_session(lambda session: get_json(session, "/thread")) is True


def test_two_hundred_requests_at_once_each_get_their_own_answer(with_session):
    async def ask(session):
        answers = await asyncio.gather(*[get_json(session, f"/items/{n}") for n in range(200)])
        return answers, await get_json(session, "/counted")

    assert with_session(ask) == ([{"number": n} for n in range(200)], 200)


def test_a_wrong_argument_is_explained(with_session):
    async def ask(session):
        async with session.get("/items/seven") as response:
            return response.status, (await response.json())["detail"][0]["loc"]

    assert with_session(ask) == (422, ["path", "number"])


def test_ten_mebibytes_are_uploaded_whole(with_session):
    async def upload(session):
        form = aiohttp.FormData()
        form.add_field("file", io.BytesIO(LARGE), filename="large")
        async with session.post("/upload", data=form) as response:
            return await response.json()

    assert with_session(upload) == hashlib.sha256(LARGE).hexdigest()


@pytest.mark.parametrize("path", ["/stream", "/file"])
def test_ten_mebibytes_are_downloaded_whole(with_session, path):
    async def download(session):
        async with session.get(path) as response:
            return await response.read()

    assert with_session(download) == LARGE


def test_a_task_runs_in_the_background(with_session, tmp_path):
    async def post(session):
        async with session.post("/later") as response:
            return response.status

    assert with_session(post) == 200
    assert (tmp_path / "written").read_text() == "in the background"


def test_a_websocket_talks(with_session):
    async def talk(session):
        async with session.ws_connect("/talk") as socket:
            await socket.send_str("hello")
            return await socket.receive_str()

    assert with_session(talk) == "HELLO"


def test_the_test_client_runs_the_application_on_meantime(backend, tmp_path):
    """Its loop runs in another thread, and is closed when the client is left."""
    options = {"loop_factory": functools.partial(meantime.EventLoop, backend=backend)}
    app = make_app(tmp_path)
    with TestClient(app, backend_options=options) as client:
        assert client.get("/loop").json() is True
        assert client.get("/items/7").json() == {"number": 7}
        with client.websocket_connect("/talk") as socket:
            socket.send_text("hello")
            assert socket.receive_text() == "HELLO"
        assert isinstance(app.state.loop, meantime.EventLoop)
    assert app.state.loop.is_closed()
