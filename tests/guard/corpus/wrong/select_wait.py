import asyncio
import select


async def main():
    select.select([], [], [], 0.3)  # wrong: blocked select.select -> add_reader


asyncio.run(main())
