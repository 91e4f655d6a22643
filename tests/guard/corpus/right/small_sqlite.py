"""A database in memory, with quick queries."""

import asyncio
import sqlite3


async def main():
    database = sqlite3.connect(":memory:")
    database.execute("create table t (x)")
    for n in range(100):
        database.execute("insert into t values (?)", (n,))
        await asyncio.sleep(0)
    assert database.execute("select count(*) from t").fetchone() == (100,)
    database.close()


asyncio.run(main())
