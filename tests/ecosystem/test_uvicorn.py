"""uvicorn: as its page says, with each of its parsers, and what clients do to a server."""

import asyncio
import contextlib
import hashlib
import io
import signal
import time
import urllib.request

import aiohttp
import httpx
import pytest
import uvicorn
import websockets.asyncio.client
import websockets.exceptions

from tests.ecosystem.asgi_app import answer, app, whole_body
from tests.ecosystem.pages import (
    Command,
    Page,
    check_installation,
    check_nothing_is_left_out,
    check_server,
)
from tests.ecosystem.pages import server as page_server
from tests.ecosystem.servers import accepts_connections, free_port, python_program, wait_until

pytestmark = pytest.mark.slow

PAGE = Page("uvicorn")
SERVERS = PAGE.commands_with("uvicorn", "python")

PIECE = bytes(range(256)) * 256
LARGE = PIECE * 160  # 10 MiB

# How long a restart may take until its cause is repeated.
AGAIN_AFTER_S = 5


# --- The page -------------------------------------------------------------------------------------


def test_the_page_says_what_to_install():
    check_installation(PAGE)
    check_nothing_is_left_out(PAGE, "uvicorn", "python")


@pytest.mark.parametrize("command", SERVERS, ids=str)
def test_every_command_of_the_page_serves_on_meantime(command, backend, tmp_path):
    check_server(PAGE, command, backend, tmp_path)


def test_meantime_run_alone_does_not_reach_the_loop(backend, tmp_path):
    """The page warns of it. When uvicorn changes, the page must."""
    (command,) = [command for command in SERVERS if command.words[0] == "meantime"]
    port = free_port()
    PAGE.write_files(tmp_path, port)
    alone = Command(command.line.removesuffix(" --loop none"), "")
    with page_server(alone, tmp_path, backend, port):
        assert b"meantime" not in get(port)


def test_reloading_keeps_the_loop(backend, tmp_path):
    (command,) = [command for command in SERVERS if "--reload" in command.words]
    port = free_port()
    PAGE.write_files(tmp_path, port)
    with page_server(command, tmp_path, backend, port) as process:
        assert get(port) == b"<class 'meantime.loop.eventloop.EventLoop'>\n"
        changed = (tmp_path / "app.py").read_text().replace('{loop}\\n"', '{loop} again"')
        expected = b"<class 'meantime.loop.eventloop.EventLoop'> again"
        written_at = float("-inf")

        def is_reloaded():
            # uvicorn compares times of changes, and what changes before its first look is not one.
            nonlocal written_at
            if time.monotonic() > written_at + AGAIN_AFTER_S:
                (tmp_path / "app.py").write_text(changed)
                written_at = time.monotonic()
            return get_or_nothing(port) == expected

        wait_until(is_reloaded, process)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=20)
    assert "Traceback" not in printed
    assert process.returncode == 0


# --- A process of its own -------------------------------------------------------------------------


def get(port, path="/", data=None):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=10) as response:
        return response.read()


def get_or_nothing(port):
    try:
        return get(port)
    except OSError:
        return None  # while it restarts


@contextlib.contextmanager
def served(backend, *options):
    """Run the application of asgi_app.py in a process, and yield the process and its port."""
    port = free_port()
    arguments = ["asgi_app:app", "--loop", "meantime:new_event_loop", "--port", str(port), *options]
    with python_program("-m", "uvicorn", *arguments, backend=backend) as process:
        wait_until(lambda: accepts_connections(port), process)
        yield process, port


def check_ending(process, stop):
    printed, _ = process.communicate(timeout=10)
    assert "lifespan.shutdown" in printed
    assert "Finished server process" in printed
    assert "Traceback" not in printed
    # uvicorn raises the signal once more after its clean-up, so that its parent sees why it ended.
    assert process.returncode in (0, -stop)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_uvicorn_serves_and_shuts_down_on_a_signal(backend, stop):
    """A process manager stops a server with SIGTERM, a person with Ctrl-C."""
    with served(backend) as (process, port):
        assert get(port) == b"meantime.EventLoop"
        assert get(port, "/echo", b"x" * 300_000) == b"x" * 300_000
        process.send_signal(stop)
        check_ending(process, stop)


def test_a_signal_lets_the_requests_end_that_are_being_answered(run, backend):
    async def main(process, port):
        async with (
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
            session.get("/slowly") as response,
        ):
            assert await response.content.readexactly(5) == b"begun"
            process.send_signal(signal.SIGTERM)
            return await response.content.read()

    with served(backend) as (process, port):
        assert run(main(process, port)) == b", done"
        check_ending(process, signal.SIGTERM)


# --- In a program of ours -------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def serving(application, **options):
    """Serve on the loop that is running, and yield the server and its port."""
    config = uvicorn.Config(application, port=0, log_level="warning", lifespan="off", **options)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield server, server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


both_parsers = pytest.mark.parametrize("http", ["h11", "httptools"])


def test_uvicorn_runs_inside_a_program_of_ours(run):
    async def main():
        async with (
            serving(app) as (_, port),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
        ):
            return await asyncio.gather(
                *[client.post("/echo", content=bytes([n]) * 10_000) for n in range(20)]
            )

    assert [answer.content for answer in run(main())] == [bytes([n]) * 10_000 for n in range(20)]


@both_parsers
def test_two_hundred_requests_at_once_each_get_their_own_answer(run, http):
    async def main():
        async with (
            serving(app, http=http) as (_, port),
            aiohttp.ClientSession(
                f"http://127.0.0.1:{port}", connector=aiohttp.TCPConnector(limit=0)
            ) as session,
        ):

            async def ask(number):
                async with session.post("/echo", data=f"body {number}") as response:
                    return await response.text()

            return await asyncio.gather(*[ask(number) for number in range(200)])

    assert run(main()) == [f"body {number}" for number in range(200)]


@both_parsers
def test_requests_on_one_connection_are_answered_in_order(run, http):
    """The second and third come in one packet: the answer to one must not wait for the next."""
    request = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"

    async def read_answer(reader):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        return await reader.readexactly(3)

    async def main():
        async with serving(app, http=http) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request + b"one")
            answers = [await read_answer(reader)]
            writer.write(request + b"two" + request + b"six")
            answers += [await read_answer(reader), await read_answer(reader)]
            writer.close()
            await writer.wait_closed()
            return answers

    assert run(main()) == [b"one", b"two", b"six"]


@both_parsers
def test_ten_mebibytes_arrive_whole_in_both_directions(run, http):
    async def digest_and_download(scope, receive, send):
        body = await whole_body(receive)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": digest(body), "more_body": True})
        for _ in range(160):
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        await send({"type": "http.response.body"})

    def digest(body):
        return hashlib.sha256(body).digest()

    async def main():
        async with (
            serving(digest_and_download, http=http) as (_, port),
            aiohttp.ClientSession() as session,
            session.post(f"http://127.0.0.1:{port}/", data=io.BytesIO(LARGE)) as response,
        ):
            return await response.read()

    received = run(main())
    assert received[:32] == digest(LARGE)
    assert received[32:] == LARGE


@both_parsers
def test_a_piece_of_an_answer_arrives_before_the_next_is_made(run, http):
    """Server-sent events live on it."""

    async def main():
        heard = asyncio.Event()

        async def stream(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            await heard.wait()
            await send({"type": "http.response.body", "body": b"second"})

        async with (
            serving(stream, http=http) as (_, port),
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/") as response,
        ):
            first = await response.content.readexactly(5)
            heard.set()
            return first, await response.content.read()

    assert run(main()) == (b"first", b"second")


@both_parsers
def test_an_application_learns_that_its_client_left_in_the_middle_of_an_answer(run, http):
    async def main():
        events = asyncio.Queue()

        async def endless(scope, receive, send):
            await whole_body(receive)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            leaving = asyncio.create_task(receive())
            while not leaving.done():
                await send({"type": "http.response.body", "body": PIECE, "more_body": True})
                await asyncio.sleep(0)
            events.put_nowait((await leaving)["type"])

        async with serving(endless, http=http) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readexactly(1_000_000)
            writer.transport.abort()
            return await events.get()

    assert run(main()) == "http.disconnect"


@both_parsers
def test_an_application_learns_that_its_client_left_in_the_middle_of_a_request(run, http):
    async def main():
        events = asyncio.Queue()

        async def upload(scope, receive, send):
            received = 0
            while (event := await receive())["type"] == "http.request":
                received += len(event["body"])
            events.put_nowait((event["type"], received))

        async with serving(upload, http=http) as (_, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b"x" * 400)
            writer.close()
            await writer.wait_closed()
            return await events.get()

    assert run(main()) == ("http.disconnect", 400)


@both_parsers
def test_a_shutdown_waits_for_the_request_in_flight_and_takes_no_new_ones(run, http):
    async def main():
        working, release = asyncio.Event(), asyncio.Event()

        async def slow(scope, receive, send):
            working.set()
            await release.wait()
            await answer(send, b"done")

        async with (
            aiohttp.ClientSession() as session,
            serving(slow, http=http) as (server, port),
        ):
            asking = asyncio.create_task(session.get(f"http://127.0.0.1:{port}/"))
            await working.wait()
            listener = server.servers[0]
            server.should_exit = True
            while listener.is_serving():
                await asyncio.sleep(0.01)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            release.set()
            async with await asking as response:
                return await response.read()

    assert run(main()) == b"done"


# --- Websockets -----------------------------------------------------------------------------------

every_implementation = pytest.mark.parametrize("ws", ["websockets-sansio", "wsproto"])


async def shout(scope, receive, send):
    """Send back every message, texts in capitals, until the client says ``bye``."""
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        if event.get("text") == "bye":
            await send({"type": "websocket.close", "code": 4000, "reason": "bye"})
            return
        if event.get("text") is not None:
            await send({"type": "websocket.send", "text": event["text"].upper()})
        else:
            await send({"type": "websocket.send", "bytes": event["bytes"]})


def connect(port):
    return websockets.asyncio.client.connect(f"ws://127.0.0.1:{port}/", max_size=None)


@every_implementation
def test_a_websocket_talks_in_texts_and_in_large_messages(run, ws):
    async def main():
        async with serving(shout, ws=ws) as (_, port), connect(port) as socket:
            await socket.send("hello")
            heard = [await socket.recv()]
            await socket.send(LARGE[:1_000_000])
            heard.append(await socket.recv())
            await (await socket.ping())
            await socket.send("bye")
            with pytest.raises(websockets.exceptions.ConnectionClosedError) as closed:
                await socket.recv()
            return heard, closed.value.rcvd.code

    assert run(main()) == (["HELLO", LARGE[:1_000_000]], 4000)


@every_implementation
def test_fifty_websockets_talk_at_once(run, ws):
    async def main():
        async with serving(shout, ws=ws) as (_, port):

            async def talk(number):
                async with connect(port) as socket:
                    for word in range(10):
                        await socket.send(f"{number} says {word}")
                        assert await socket.recv() == f"{number} SAYS {word}"
                    return number

            return await asyncio.gather(*[talk(number) for number in range(50)])

    assert run(main()) == list(range(50))


@every_implementation
def test_an_application_learns_that_a_websocket_is_lost(run, ws):
    async def main():
        ends = asyncio.Queue()

        async def wait_for_the_end(scope, receive, send):
            await receive()
            await send({"type": "websocket.accept"})
            ends.put_nowait(await receive())

        async with serving(wait_for_the_end, ws=ws) as (_, port):
            socket = await connect(port)
            socket.transport.abort()
            return await ends.get()

    end = run(main())
    assert (end["type"], end["code"]) in [
        ("websocket.disconnect", 1005),
        ("websocket.disconnect", 1006),
    ]


@every_implementation
def test_a_shutdown_says_good_bye_to_websockets(run, ws):
    async def main():
        async with serving(shout, ws=ws) as (server, port), connect(port) as socket:
            await socket.send("still here")
            assert await socket.recv() == "STILL HERE"
            server.should_exit = True
            with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
                await socket.recv()
            return closed.value.rcvd.code

    assert run(main()) == 1012  # "service restart"
