"""What the tests of sendfile ask for: a file, ways to send it, and where its pages are."""

import asyncio
import os

import pytest

from meantime.loop import sendfile
from tests.loop.files_sent import CONTENT


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    with path.open("rb") as file:
        yield file


@pytest.fixture(params=["tcp", "unix"])
def kind(request):
    return request.param


@pytest.fixture(params=["by the kernel", "by reading"])
def way(request, monkeypatch):
    """Both ways in which a plain transport can send a file."""
    if request.param == "by reading":

        async def refuse(*arguments):
            raise asyncio.SendfileNotAvailableError("not supported in this test")

        for name in ("_sendfile_native", "_sock_sendfile_native"):
            monkeypatch.setattr(sendfile.SendingFiles, name, refuse)
    return request.param


@pytest.fixture(params=["in memory", "cold", "of a strange kind"])
def cache(request, monkeypatch, tmp_path):
    """Where the file's pages are, as far as one can ask."""
    if request.param == "cold":
        asked = set()

        def answer(fd, offset, size):
            found = (offset, size) in asked
            asked.add((offset, size))
            return found

        monkeypatch.setattr(sendfile, "is_in_memory", answer)
        monkeypatch.setattr(sendfile, "read_from_memory", lambda *_: None)
    elif request.param == "of a strange kind":

        def refuse(*arguments):
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(os, "preadv", refuse)
    return request.param
