"""aiohttp: a client and a server that speak HTTP by protocols and transports of their own."""

import asyncio
import contextlib
import hashlib
import io
import signal
import ssl
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.ecosystem.pages import (
    Command,
    Page,
    check_installation,
    check_nothing_is_left_out,
    check_server,
    run_command,
    server,
)
from tests.ecosystem.servers import free_port

PAGE = Page("aiohttp")

CERTIFICATE = Path(__file__).parents[1] / "loop" / "certificate.pem"

PIECE = bytes(range(256)) * 256
LARGE = PIECE * 160  # 10 MiB


# --- The page -------------------------------------------------------------------------------------


def test_the_page_says_what_to_install():
    check_installation(PAGE)
    check_nothing_is_left_out(PAGE, "python", "aiohttp.web")


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", PAGE.commands_with("python", "aiohttp.web"), ids=str)
def test_every_command_of_the_page_serves_on_meantime(command, backend, tmp_path, stop):
    check_server(PAGE, command, backend, tmp_path, stop)


@pytest.mark.slow
def test_the_client_of_the_page_fetches_from_its_server(backend, tmp_path):
    port = free_port()
    PAGE.write_files(tmp_path, port)
    with server(Command("python serve.py", ""), tmp_path, backend, port):
        fetch = Command(f"python fetch.py http://127.0.0.1:{port}/", "")
        fetched = run_command(fetch, tmp_path, backend)
    assert fetched.stdout == "200 <class 'meantime.loop.eventloop.EventLoop'>\n\n"


# --- Traffic --------------------------------------------------------------------------------------


async def hello(request):
    return web.Response(text=f"hello {request.match_info['name']}")


async def echo(request):
    return web.json_response(await request.json())


async def count_bytes(request):
    """Read a body piece by piece and answer with a body of the same size, in pieces."""
    response = web.StreamResponse()
    await response.prepare(request)
    async for piece in request.content.iter_any():
        await response.write(b"." * len(piece))
    await response.write_eof()
    return response


async def too_slow(request):
    await asyncio.sleep(60)


async def talk(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data.upper())
    return socket


@contextlib.asynccontextmanager
async def client_and_server(*, tls=False):
    """Yield a client session for a server with all the handlers above."""
    server_context = client_context = None
    if tls:
        server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_context.load_cert_chain(CERTIFICATE)
        client_context = ssl.create_default_context(cafile=CERTIFICATE)
    app = web.Application()
    app.add_routes(
        [
            web.get("/hello/{name}", hello),
            web.post("/echo", echo),
            web.post("/count", count_bytes),
            web.get("/slow", too_slow),
            web.get("/talk", talk),
        ]
    )
    async with (
        serving(app, ssl_context=server_context) as port,
        client_of(port, client_context) as session,
    ):
        yield session


@contextlib.asynccontextmanager
async def serving(app, *, ssl_context=None, shutdown_timeout=1, **options):
    """Serve an application on the loop that is running, and yield its port."""
    runner = web.AppRunner(app, shutdown_timeout=shutdown_timeout, **options)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl_context).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def serving_one(handler, **options):
    """Serve one handler at every path."""
    app = web.Application(client_max_size=2 * len(LARGE))
    app.add_routes([web.route("*", "/{tail:.*}", handler)])
    return serving(app, **options)


def client_of(port, ssl_context=None):
    """Return a session that opens as many connections as are asked for."""
    connector = aiohttp.TCPConnector(limit=0, ssl=ssl_context or True)
    url = f"http://127.0.0.1:{port}" if ssl_context is None else f"https://localhost:{port}"
    return aiohttp.ClientSession(url, connector=connector)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_many_requests_at_once_each_get_their_own_answer(run, tls):
    async def main():
        async with client_and_server(tls=tls) as session:

            async def ask(name):
                async with session.get(f"/hello/{name}") as response:
                    return await response.text()

            return await asyncio.gather(*[ask(n) for n in range(200)])

    assert run(main()) == [f"hello {n}" for n in range(200)]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_json_goes_there_and_back(run, tls):
    document = {"numbers": list(range(1000)), "text": "ü" * 1000}

    async def main():
        async with (
            client_and_server(tls=tls) as session,
            session.post("/echo", json=document) as response,
        ):
            return await response.json()

    assert run(main()) == document


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_large_body_streams_both_ways(run, tls):
    """More than any buffer holds, so that both sides must pause and resume."""
    pieces, piece = 64, b"x" * 65_536

    async def body():
        for _ in range(pieces):
            yield piece

    async def main():
        async with (
            client_and_server(tls=tls) as session,
            session.post("/count", data=body()) as response,
        ):
            return len(await response.read())

    assert run(main()) == pieces * len(piece)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_websocket_talks_and_closes(run, tls):
    async def main():
        async with client_and_server(tls=tls) as session, session.ws_connect("/talk") as socket:
            heard = []
            for word in ("one", "two", "three" * 10_000):
                await socket.send_str(word)
                heard.append(await socket.receive_str())
            await socket.close()
            return heard, socket.close_code

    assert run(main()) == (["ONE", "TWO", "THREE" * 10_000], 1000)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_timeout_ends_a_request(run, tls):
    async def main():
        async with client_and_server(tls=tls) as session:
            timeout = aiohttp.ClientTimeout(total=0.1)
            with pytest.raises(TimeoutError):
                await session.get("/slow", timeout=timeout)

    run(main())


def test_a_refused_connection_is_reported_as_such(run):
    async def main():
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorError) as refused:
                await session.get("http://127.0.0.1:1/")
            return refused.value.os_error

    assert isinstance(run(main()), ConnectionRefusedError)


def test_requests_after_one_another_use_one_connection(run):
    async def which_port(request):
        return web.json_response(request.transport.get_extra_info("peername")[1])

    async def main():
        async with serving_one(which_port) as port, client_of(port) as session:
            ports = set()
            for _ in range(20):
                async with session.get("/") as response:
                    ports.add(await response.json())
            return ports

    assert len(run(main())) == 1


def test_ten_mebibytes_arrive_whole_in_both_directions(run):
    async def digest_and_download(request):
        response = web.StreamResponse(headers={"Digest": digest(await request.read())})
        await response.prepare(request)
        for _ in range(160):
            await response.write(PIECE)
        await response.write_eof()
        return response

    def digest(body):
        return hashlib.sha256(body).hexdigest()

    async def main():
        async with (
            serving_one(digest_and_download) as port,
            client_of(port) as session,
            session.post("/", data=io.BytesIO(LARGE)) as response,
        ):
            return response.headers["Digest"], await response.read()

    assert run(main()) == (digest(LARGE), LARGE)


def test_a_file_is_sent_whole(run, tmp_path):
    """aiohttp asks the loop for sendfile, and writes the file itself where there is none."""
    (tmp_path / "file").write_bytes(LARGE)

    async def send(request):
        return web.FileResponse(tmp_path / "file")

    async def main():
        async with (
            serving_one(send) as port,
            client_of(port) as session,
            session.get("/") as whole,
            session.get("/", headers={"Range": "bytes=1000-1999"}) as part,
        ):
            return await whole.read(), await part.read()

    assert run(main()) == (LARGE, LARGE[1000:2000])


def test_a_piece_of_an_answer_arrives_before_the_next_is_made(run):
    async def main():
        heard = asyncio.Event()

        async def stream(request):
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"first")
            await heard.wait()
            await response.write(b"second")
            return response

        async with (
            serving_one(stream) as port,
            client_of(port) as session,
            session.get("/") as response,
        ):
            first = await response.content.readexactly(5)
            heard.set()
            return first, await response.read()

    assert run(main()) == (b"first", b"second")


def test_a_handler_is_cancelled_when_its_client_leaves(run):
    async def main():
        working, ends = asyncio.Event(), asyncio.Queue()

        async def wait_for_the_end(request):
            working.set()
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                ends.put_nowait("cancelled")
                raise

        async with serving_one(wait_for_the_end, handler_cancellation=True) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await working.wait()
            writer.transport.abort()
            return await ends.get()

    assert run(main()) == "cancelled"


def test_a_handler_cannot_write_to_a_client_that_left(run):
    async def main():
        ends = asyncio.Queue()

        async def endless(request):
            response = web.StreamResponse()
            await response.prepare(request)
            try:
                while True:
                    await response.write(PIECE)
            except ConnectionError as error:
                ends.put_nowait(type(error))
                raise

        async with serving_one(endless) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readexactly(1_000_000)
            writer.transport.abort()
            return await ends.get()

    assert issubclass(run(main()), ConnectionError)


def test_a_shutdown_waits_for_the_request_in_flight(run):
    async def main():
        working = asyncio.Event()

        async def slow(request):
            working.set()
            await asyncio.sleep(0.2)
            return web.Response(text="done")

        async with serving_one(slow, shutdown_timeout=30) as port:
            session = client_of(port)
            asking = asyncio.create_task(session.get("/"))
            await working.wait()
        # The server is gone by now.
        async with session, await asking as response:
            return await response.text()

    assert run(main()) == "done"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_fifty_websockets_talk_at_once(run, tls):
    async def main():
        async with client_and_server(tls=tls) as session:

            async def speak(number):
                async with session.ws_connect("/talk", heartbeat=5) as socket:
                    for word in range(10):
                        await socket.send_str(f"{number} says {word}")
                        assert await socket.receive_str() == f"{number} SAYS {word}"
                    return number

            return await asyncio.gather(*[speak(number) for number in range(50)])

    assert run(main()) == list(range(50))


def test_a_handler_learns_that_its_websocket_is_lost(run):
    async def main():
        ends = asyncio.Queue()

        async def listen(request):
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for _ in socket:
                pass
            ends.put_nowait(socket.close_code)
            return socket

        async with serving_one(listen) as port, client_of(port) as session:
            socket = await session.ws_connect("/")
            await socket.send_str("hello")
            socket._response.connection.transport.abort()
            return await ends.get()

    assert run(main()) == 1006
