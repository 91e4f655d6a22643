import asyncio
import sqlite3

COUNT = """
with recursive numbers(n) as (select 1 union all select n + 1 from numbers where n < 3000000)
select count(*) from numbers
"""


async def main():
    database = sqlite3.connect(":memory:")
    database.execute(COUNT)  # wrong: blocked sqlite3.Connection.execute -> aiosqlite
    database.close()


asyncio.run(main())
