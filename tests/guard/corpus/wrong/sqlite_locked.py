import asyncio
import sqlite3
import tempfile
from pathlib import Path


async def main():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "some.db"
        first = sqlite3.connect(path, isolation_level=None)
        first.execute("create table t (x)")
        first.execute("begin exclusive")
        second = sqlite3.connect(path, timeout=0.4)
        cursor = second.cursor()
        try:
            # wrong: blocked sqlite3.Cursor.execute -> aiosqlite
            cursor.execute("insert into t values (1)")
        except sqlite3.OperationalError:
            pass
        first.close()
        second.close()


asyncio.run(main())
