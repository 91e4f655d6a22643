import os

import pytest

from meantime import files


def test_temporary_files_are_gone_at_the_end(run, tmp_path):
    async def main():
        async with files.TemporaryFile("w+") as file:
            await file.write("text")
            await file.seek(0)
            assert await file.read() == "text"
        async with files.NamedTemporaryFile(dir=tmp_path, suffix=".x") as file:
            await file.write(b"bytes")
            await file.flush()
            assert await files.read_bytes(file.name) == b"bytes"
            assert file.name.endswith(".x")
        assert list(tmp_path.iterdir()) == []
        async with files.SpooledTemporaryFile(max_size=10) as file:
            await file.write(b"x" * 100)
            await file.seek(50)
            assert await file.read() == b"x" * 50

    run(main())


def test_a_temporary_folder_is_gone_at_the_end(run, tmp_path):
    async def main():
        async with files.TemporaryDirectory(prefix="pre", dir=tmp_path) as folder:
            await files.write_text(f"{folder}/x", "x")
            assert folder.startswith(str(tmp_path / "pre"))
        assert list(tmp_path.iterdir()) == []
        kept = files.TemporaryDirectory(dir=tmp_path)
        with pytest.raises(RuntimeError, match="async with"):
            kept.name  # noqa: B018
        await kept
        assert os.path.isdir(kept.name)
        await kept.cleanup()
        await kept.cleanup()
        assert list(tmp_path.iterdir()) == []

    run(main())


def test_made_by_hand(run, tmp_path):
    async def main():
        fd, path = await files.mkstemp(dir=tmp_path)
        os.close(fd)
        assert os.path.exists(path)
        assert os.path.isdir(await files.mkdtemp(dir=tmp_path))
        assert await files.gettempdir()

    run(main())
