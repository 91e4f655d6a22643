"""httpx: a client on anyio, which finds out by itself which loop it runs on."""

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path

import httpx
import pytest

CERTIFICATE = Path(__file__).parents[1] / "loop" / "certificate.pem"


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
async def client_and_server(tls=None, **options):
    server = await asyncio.start_server(answer, "localhost", 0, family=socket.AF_INET, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    url = f"{'https' if tls else 'http'}://localhost:{port}"
    async with server:
        async with httpx.AsyncClient(base_url=url, **options) as client:
            yield client
        # The handlers read the end of their connections.
        await asyncio.sleep(0.05)


def test_many_requests_at_once_each_get_their_own_answer(run):
    async def main():
        # They stand in line for a hundred connections; on a busy machine longer than httpx allows.
        async with client_and_server(timeout=30) as client:
            answers = await asyncio.gather(*[client.get(f"/{n}") for n in range(200)])
            return [answer.text for answer in answers]

    assert run(main()) == [f"/{n}" for n in range(200)]


def test_requests_after_one_another_use_one_connection(run):
    async def main():
        async with client_and_server() as client:
            answers = [await client.get(f"/{n}") for n in range(20)]
            streams = [answer.extensions["network_stream"] for answer in answers]
            return {stream.get_extra_info("client_addr") for stream in streams}

    assert len(run(main())) == 1


def test_an_answer_that_is_left_in_the_middle_does_no_harm(run):
    body = bytes(2_000_000)

    async def main():
        async with client_and_server() as client:
            async with client.stream("POST", "/large", content=body) as response:
                async for _ in response.aiter_bytes():
                    break
            return (await client.get("/next")).text

    assert run(main()) == "/next"


def test_requests_travel_by_tls(run):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    body = bytes(range(256)) * 8192

    async def main():
        trust = ssl.create_default_context(cafile=CERTIFICATE)
        async with client_and_server(context, verify=trust) as client:
            answers = await asyncio.gather(*[client.post("/", content=body) for _ in range(5)])
            return {answer.content for answer in answers}

    assert run(main()) == {body}


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
