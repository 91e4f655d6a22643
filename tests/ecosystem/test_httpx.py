"""httpx: a client on anyio, which finds out by itself which loop it runs on."""

import asyncio
import contextlib

import httpx
import pytest


async def answer(reader, writer):
    """Serve HTTP/1.1 by hand: echo each body, and keep the connection open."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1]
            length = 0
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            body = await reader.readexactly(length) or path
            if path == b"/never":
                await reader.read()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
            writer.write(body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the client has left
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def client_and_server(**options):
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", **options) as client:
            yield client
        # The handlers read the end of their connections.
        await asyncio.sleep(0.05)


def test_many_requests_at_once_each_get_their_own_answer(run):
    async def main():
        async with client_and_server() as client:
            answers = await asyncio.gather(*[client.get(f"/{n}") for n in range(50)])
            return [answer.text for answer in answers]

    assert run(main()) == [f"/{n}" for n in range(50)]


def test_a_large_body_goes_there_and_back(run):
    body = bytes(range(256)) * 8192

    async def main():
        async with (
            client_and_server() as client,
            client.stream("POST", "/large", content=body) as response,
        ):
            return b"".join([piece async for piece in response.aiter_bytes()])

    assert run(main()) == body


def test_a_timeout_ends_a_request(run):
    async def main():
        async with client_and_server(timeout=0.1) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.get("/never")

    run(main())


def test_a_refused_connection_is_reported_as_such(run):
    async def main():
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.ConnectError):
                await client.get("http://127.0.0.1:1/")

    run(main())
