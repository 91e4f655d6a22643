"""Standard input and output, in a process of their own for each test."""

import io
import os
import subprocess
import sys

import pytest

from meantime import files


def ask(backend, program, given=None, **options):
    """Run a program that has `main`, and return what it prints."""
    script = (
        "import asyncio, meantime, sys\nfrom meantime import files\n"
        + program
        + "\nmeantime.run(main())\n"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        input=given,
        capture_output=True,
        env=os.environ | {"MEANTIME_BACKEND": backend, "PYTHONIOENCODING": "utf-8"},
        timeout=40,
        **options,
    )
    assert ended.returncode == 0, ended.stderr.decode()
    assert ended.stderr == b""
    return ended.stdout.decode()


LINES = """
async def main():
    async for line in files.stdin:
        await files.stdout.write(line.upper())
    await files.stdout.flush()
    assert await files.stdin.readline() == ""
"""


def test_lines_from_a_pipe(backend):
    assert ask(backend, LINES, "eins\nzwei\r\nä".encode()) == "EINS\nZWEI\nÄ"


def test_lines_from_a_file_and_from_nothing(backend, tmp_path):
    (tmp_path / "x").write_text("a\nb\n")
    with (tmp_path / "x").open() as source:
        assert ask(backend, LINES, stdin=source) == "A\nB\n"
    assert ask(backend, LINES, stdin=subprocess.DEVNULL) == ""


def test_bytes_by_every_method(backend):
    program = """
async def main():
    source = files.stdin_bytes
    assert await source.read(3) == b"012"
    assert await source.readline() == b"3\\n"
    assert await source.readline(2) == b"45"
    buffer = bytearray(4)
    assert await source.readinto(buffer) == 4 and buffer == b"6\\n78"
    assert await source.readlines(1) == [b"9\\n"]
    assert await source.readlines() == [b"a\\n", b"b"]
    assert await source.read() == b"" == await source.read1()
    assert source.readable() and not source.writable() and not source.isatty()
    await files.stdout_bytes.write(b"right")
    await files.stdout_bytes.flush()
"""
    assert ask(backend, program, b"0123\n456\n789\na\nb") == "right"


def test_a_large_input_arrives_whole(backend):
    program = """
async def main():
    text = await files.stdin.read()
    print(len(text), text.count("ä"))
"""
    assert ask(backend, program, "äb".encode() * 700_000) == "1400000 700000\n"


def test_a_cancelled_read_loses_nothing_and_holds_nothing_up(backend):
    """The process ends while its input is still open: no thread waits for it."""
    program = """
async def main():
    for _ in range(3):
        try:
            await asyncio.wait_for(files.stdin.readline(), 0.02)
        except TimeoutError:
            print("waited", flush=True)
    task = asyncio.ensure_future(files.stdin.readline())
    print("send", flush=True)
    print(repr(await task))
    try:
        await asyncio.wait_for(files.stdin.readline(), 0.02)
    except TimeoutError:
        print("end")
"""
    imports = "import asyncio, meantime\nfrom meantime import files\n"
    with subprocess.Popen(
        [sys.executable, "-c", f"{imports}{program}\nmeantime.run(main())"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"MEANTIME_BACKEND": backend},
    ) as process:
        for expected in (b"waited\n", b"waited\n", b"waited\n", b"send\n"):
            assert process.stdout.readline() == expected
        process.stdin.write(b"a line\nand half of")
        process.stdin.flush()
        assert process.stdout.read() == b"'a line\\n'\nend\n"
        assert process.wait(20) == 0


def test_two_readers_get_each_line_once(backend):
    program = """
async def main():
    got = []
    async def read():
        while line := await files.stdin.readline():
            got.append(int(line))
    await asyncio.gather(read(), read(), read())
    print(sorted(got) == list(range(20000)))
"""
    given = "".join(f"{n}\n" for n in range(20_000)).encode()
    assert ask(backend, program, given) == "True\n"


def test_a_stand_in_is_used(run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\ntwo\n"))
    monkeypatch.setattr(sys, "stdout", io.StringIO())

    async def main():
        assert [line async for line in files.stdin] == ["one\n", "two\n"]
        await files.stdout.write("three")
        assert sys.stdout.getvalue() == "three"
        assert "StringIO" in repr(files.stdout)

    run(main())


@pytest.mark.parametrize("stream", ["stdout", "stderr", "stdout_bytes", "stderr_bytes"])
def test_output_has_the_methods_of_a_file(stream):
    assert {"write", "writelines", "flush"} <= set(dir(getattr(files, stream)))
