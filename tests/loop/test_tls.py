"""TLS, by asyncio's own engine on our transports."""

import asyncio
import ssl
from pathlib import Path

import pytest

CERTIFICATE = Path(__file__).with_name("certificate.pem")


@pytest.fixture
def server_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


@pytest.fixture
def client_context():
    return ssl.create_default_context(cafile=CERTIFICATE)


async def echo_line(reader, writer):
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def ask(reader, writer):
    writer.write(b"hello\n")
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return answer


def test_a_client_and_a_server_talk(loop, server_context, client_context):
    async def session():
        server = await asyncio.start_server(echo_line, "localhost", 0, ssl=server_context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            streams = await asyncio.open_connection("localhost", port, ssl=client_context)
            return await ask(*streams)

    assert loop.run_until_complete(session()) == b"hello\n"


def test_unix_sockets_carry_tls_too(loop, server_context, client_context, tmp_path):
    path = tmp_path / "socket"

    async def session():
        server = await asyncio.start_unix_server(echo_line, path, ssl=server_context)
        async with server:
            streams = await asyncio.open_unix_connection(
                path, ssl=client_context, server_hostname="localhost"
            )
            return await ask(*streams)

    assert loop.run_until_complete(session()) == b"hello\n"


def test_a_connection_begins_tls_in_the_middle(loop, server_context, client_context):
    async def upgrade(reader, writer):
        await reader.readline()
        writer.write(b"READY\n")
        await writer.start_tls(server_context)
        await echo_line(reader, writer)

    async def session():
        server = await asyncio.start_server(upgrade, "localhost", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("localhost", port)
            writer.write(b"STARTTLS\n")
            await reader.readline()
            await writer.start_tls(client_context, server_hostname="localhost")
            return await ask(reader, writer)

    assert loop.run_until_complete(session()) == b"hello\n"


def test_a_certificate_for_another_name_ends_the_attempt(loop, server_context, client_context):
    async def session():
        server = await asyncio.start_server(echo_line, "localhost", 0, ssl=server_context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            await asyncio.open_connection(
                "localhost", port, ssl=client_context, server_hostname="other.example"
            )

    loop.set_exception_handler(lambda loop, context: None)
    with pytest.raises(ssl.SSLCertVerificationError):
        loop.run_until_complete(session())


def test_start_tls_wants_a_context_and_a_stream(loop, client_context):
    with pytest.raises(TypeError, match=r"expected to be an instance of ssl\.SSLContext"):
        loop.run_until_complete(loop.start_tls(None, asyncio.Protocol(), None))
    with pytest.raises(TypeError, match="is not supported by start_tls"):
        loop.run_until_complete(loop.start_tls(object(), asyncio.Protocol(), client_context))
