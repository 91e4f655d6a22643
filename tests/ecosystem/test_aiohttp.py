"""aiohttp: a client and a server that speak HTTP by protocols and transports of their own."""

import asyncio
import contextlib

import aiohttp
import pytest
from aiohttp import web


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
async def client_and_server():
    """Yield a client session for a server with all the handlers above."""
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
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        async with aiohttp.ClientSession(f"http://{host}:{port}") as session:
            yield session
    finally:
        await runner.cleanup()


def test_many_requests_at_once_each_get_their_own_answer(run):
    async def main():
        async with client_and_server() as session:

            async def ask(name):
                async with session.get(f"/hello/{name}") as response:
                    return await response.text()

            return await asyncio.gather(*[ask(n) for n in range(100)])

    assert run(main()) == [f"hello {n}" for n in range(100)]


def test_json_goes_there_and_back(run):
    document = {"numbers": list(range(1000)), "text": "ü" * 1000}

    async def main():
        async with (
            client_and_server() as session,
            session.post("/echo", json=document) as response,
        ):
            return await response.json()

    assert run(main()) == document


def test_a_large_body_streams_both_ways(run):
    """More than any buffer holds, so that both sides must pause and resume."""
    pieces, piece = 64, b"x" * 65_536

    async def body():
        for _ in range(pieces):
            yield piece

    async def main():
        async with (
            client_and_server() as session,
            session.post("/count", data=body()) as response,
        ):
            return len(await response.read())

    assert run(main()) == pieces * len(piece)


def test_a_websocket_talks_and_closes(run):
    async def main():
        async with client_and_server() as session, session.ws_connect("/talk") as socket:
            heard = []
            for word in ("one", "two", "three" * 10_000):
                await socket.send_str(word)
                heard.append(await socket.receive_str())
            await socket.close()
            return heard, socket.close_code

    assert run(main()) == (["ONE", "TWO", "THREE" * 10_000], 1000)


def test_a_timeout_ends_a_request(run):
    async def main():
        async with client_and_server() as session:
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
