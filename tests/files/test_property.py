"""Any sequence of calls gives what it gives with `open`: the same bytes, positions and errors."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import meantime
from meantime.files.calls import Calls
from meantime.files.file import Face

SETTINGS = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

sizes = st.one_of(st.just(-1), st.none(), st.integers(0, 40), st.integers(8000, 20_000))
whole_sizes = st.one_of(st.just(-1), st.integers(0, 40), st.integers(8000, 20_000))
reads = st.one_of(
    st.tuples(st.just("read"), sizes),
    st.tuples(st.just("readline")),
    st.tuples(st.just("readline"), whole_sizes),
    st.tuples(st.just("readlines"), whole_sizes),
    st.tuples(st.just("next line")),
)
places = st.one_of(
    st.tuples(st.just("tell")),
    st.tuples(st.just("seek"), st.integers(0, 30_000)),
    st.tuples(st.just("seek"), st.integers(-50, 50), st.integers(0, 2)),
    st.tuples(st.just("truncate")),
    st.tuples(st.just("truncate"), st.integers(0, 20_000)),
    st.tuples(st.just("flush")),
    st.tuples(st.just("forget")),
)
pieces = st.one_of(
    st.binary(max_size=60),
    st.builds(lambda piece, times: piece * times, st.binary(min_size=1, max_size=20),
              st.integers(1, 2000)),
    st.builds(lambda piece, times: piece * times, st.binary(min_size=20, max_size=20),
              st.integers(2000, 20_000)),
)  # fmt: skip
byte_calls = st.one_of(
    reads,
    places,
    st.tuples(st.just("readinto"), st.integers(0, 20_000)),
    st.tuples(st.just("readinto1"), st.integers(0, 100)),
    st.tuples(st.just("read1"), whole_sizes),
    st.tuples(st.just("write"), pieces),
    st.tuples(st.just("writelines"), st.lists(pieces, max_size=3)),
)
letters = st.text(st.sampled_from("abä€😀\n\r\t "), max_size=30)
texts = st.one_of(
    letters,
    st.builds(lambda piece, times: piece * times, letters, st.integers(1, 1500)),
)
text_calls = st.one_of(
    reads,
    st.tuples(st.just("tell and back")),
    st.tuples(st.just("seek and stay"), st.sampled_from([0, 1, 2])),
    st.tuples(st.just("truncate")),
    st.tuples(st.just("flush")),
    st.tuples(st.just("forget")),
    st.tuples(st.just("write"), texts),
    st.tuples(st.just("writelines"), st.lists(texts, max_size=3)),
)


class Plain:
    """A file of `open`, asked in the words of the tests.

    Positions in text are numbers that only `seek` understands, and several may mean the same place.
    """

    def __init__(self, file):
        self.file = file

    async def ask(self, name, *arguments):
        if name == "next line":
            return self.file.readline()
        if name == "tell and back":
            return self.file.seek(self.file.tell()) is not None
        if name == "seek and stay":
            return self.file.seek(0, *arguments) is not None
        if name.startswith("readinto"):
            buffer = bytearray(arguments[0])
            return getattr(self.file, name)(buffer), bytes(buffer)
        return getattr(self.file, name)(*arguments)


class Ours:
    """A file of `open_file`, asked in the words of the tests."""

    def __init__(self, file):
        self.file = file

    async def ask(self, name, *arguments):
        if name == "next line":
            # It ends with no line, which is told in another way.
            return await anext(self.file, b"" if "b" in self.file.mode else "")
        if name == "tell and back":
            return await self.file.seek(await self.file.tell()) is not None
        if name == "seek and stay":
            return await self.file.seek(0, *arguments) is not None
        if name.startswith("readinto"):
            buffer = bytearray(arguments[0])
            return await getattr(self.file, name)(buffer), bytes(buffer)
        return await getattr(self.file, name)(*arguments)


async def outcome(file, call):
    """Return what a call gives: a result, or an error without what differs by nature."""
    try:
        return await file.ask(*call)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        return type(error), str(error)


def forget_pages(path):
    """Take a file out of the page cache, so that it cannot be read without waiting for the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


async def compare_short_reads(ours, plain, call):
    """Ask for what one read of the disk gives, which is as much as the buffer happens to have.

    Whoever got more goes back to where the other is.
    """
    results = [await outcome(file, call) for file in (ours, plain)]
    if call[0] == "readinto1":
        results = [data[:size] if isinstance(size, int) else (size, data) for size, data in results]
    if not all(isinstance(result, bytes) for result in results):
        assert results[0] == results[1], call
        return
    shorter = min(results, key=len)
    assert bool(results[0]) == bool(results[1]), call
    for file, result in zip((ours, plain), results, strict=True):
        assert result.startswith(shorter), call
        if len(result) > len(shorter):
            await file.ask("seek", len(shorter) - len(result), os.SEEK_CUR)


class ThreadedFile(Face, Calls):
    """What an AsyncFile is where there is no compiled core."""


async def compare(content, mode, calls, in_threads, *options):
    with tempfile.TemporaryDirectory() as folder:
        plain_path, our_path = Path(folder, "plain"), Path(folder, "ours")
        plain_path.write_bytes(content)
        our_path.write_bytes(content)
        plain_file = plain_path.open(mode, *options)
        if in_threads:
            our_file = ThreadedFile(our_path.open(mode, *options))
        else:
            our_file = await meantime.open_file(our_path, mode, *options)
        plain, ours = Plain(plain_file), Ours(our_file)
        try:
            for call in calls:
                if call[0] == "forget":
                    forget_pages(our_path)
                elif call[0] in ("read1", "readinto1"):
                    await compare_short_reads(ours, plain, call)
                else:
                    assert await outcome(ours, call) == await outcome(plain, call), call
        finally:
            plain_file.close()
            await our_file.close()
        assert our_path.read_bytes() == plain_path.read_bytes()


@pytest.mark.slow
@SETTINGS
@given(
    content=pieces,
    mode=st.sampled_from(["rb", "wb", "ab", "r+b", "w+b", "a+b"]),
    buffering=st.sampled_from([-1, 0, 16, 100]),
    calls=st.lists(byte_calls, max_size=12),
    in_threads=st.booleans(),
)
def test_bytes(run, content, mode, buffering, calls, in_threads):
    run(compare(content, mode, calls, in_threads, buffering))


@pytest.mark.slow
@SETTINGS
@given(
    content=texts,
    mode=st.sampled_from(["r", "w", "a", "r+", "w+", "a+"]),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-8-sig", "latin-1"]),
    errors=st.sampled_from(["strict", "replace"]),
    newline=st.sampled_from([None, "", "\n", "\r", "\r\n"]),
    calls=st.lists(text_calls, max_size=12),
    in_threads=st.booleans(),
)
def test_text(run, content, mode, encoding, errors, newline, calls, in_threads):
    data = content.encode(encoding, "replace")
    run(compare(data, mode, calls, in_threads, -1, encoding, errors, newline))


@pytest.mark.slow
@SETTINGS
@given(
    content=texts, newline=st.sampled_from([None, "", "\n", "\r", "\r\n"]), is_cold=st.booleans()
)
def test_lines(run, content, newline, is_cold):
    """However the file is cut into lines, iterating gives the same ones."""

    async def main():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "lines")
            path.write_bytes(content.encode())
            if is_cold:
                forget_pages(path)
            with path.open(encoding="utf-8", newline=newline) as plain:
                async with meantime.open_file(path, encoding="utf-8", newline=newline) as ours:
                    assert [line async for line in ours] == list(plain)
                    assert ours.newlines == plain.newlines
            with path.open("rb") as plain:
                async with meantime.open_file(path, "rb") as ours:
                    assert [line async for line in ours] == list(plain)

    run(main())


LONG_STEPS = st.one_of(
    st.tuples(st.just("lines"), st.integers(1, 2500)),
    st.tuples(st.just("read"), st.integers(0, 20_000)),
    st.tuples(st.just("tell"), st.just(0)),
    st.tuples(st.just("seek"), st.integers(0, 5)),
)


async def given_by(step):
    try:
        return await step
    except UnicodeDecodeError:
        return UnicodeDecodeError


async def find_undecodable(given, file, step):
    if given is not UnicodeDecodeError:
        with pytest.raises(UnicodeDecodeError):
            await step(file, "read", -1, [])


async def step_plainly(file, step, count, places):
    if step == "lines":
        return [file.readline() for _ in range(count)]
    if step == "read":
        return file.read(count)
    if step == "tell":
        places.append(file.tell())
        return None
    file.seek(places[count % len(places)])
    return None


async def step_of_ours(file, step, count, places):
    if step == "lines":
        return [await file.readline() for _ in range(count)]
    if step == "read":
        return await file.read(count)
    if step == "tell":
        places.append(await file.tell())
        return None
    await file.seek(places[count % len(places)])
    return None


@pytest.mark.slow
@SETTINGS
@given(
    odd=st.sampled_from([b"", "ä ö €\n".encode(), b"a\r\nb\n", b"\rc\r", b"\xff\xfe\n", b"\n\n"]),
    before=st.integers(0, 4000),
    after=st.integers(0, 4000),
    end=st.sampled_from([b"", b"an end without a line's", "ä".encode()]),
    encoding=st.sampled_from(["utf-8", "utf-8", "latin-1", "ascii", "utf-8-sig", "cp1252"]),
    errors=st.sampled_from(["strict", "replace", "surrogateescape"]),
    newline=st.sampled_from([None, None, "", "\n", "\r"]),
    steps=st.lists(LONG_STEPS, max_size=10),
)
def test_long_texts(run, odd, before, after, end, encoding, errors, newline, steps):
    """Lines are read past the decoder where all is plain: nobody must notice where that ends."""

    async def main():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "text")
            path.write_bytes(b"this is a line of some length\n" * before + odd
                             + b"and another\n" * after + end)  # fmt: skip
            options = {"encoding": encoding, "errors": errors, "newline": newline}
            places, our_places = [0], [0]
            with path.open(**options) as plain:
                async with meantime.open_file(path, **options) as ours:
                    for step, count in [*steps, ("lines", 3), ("tell", 0), ("read", -1)]:
                        ours_given = await given_by(step_of_ours(ours, step, count, our_places))
                        given = await given_by(step_plainly(plain, step, count, places))
                        if UnicodeDecodeError in (given, ours_given):
                            # Each finds it as soon as it has read so far, which is for it to say.
                            await find_undecodable(given, plain, step_plainly)
                            await find_undecodable(ours_given, ours, step_of_ours)
                            return
                        assert ours_given == given

    run(main())
