"""A first coroutine: it waits two seconds and returns a result.

python first_steps.py
meantime run first_steps.py
"""

import asyncio


async def fetch_data():
    print("Start fetching")
    # Stands for something slow: a web request, a database. While this coroutine waits here, the
    # event loop is free to run others.
    await asyncio.sleep(2)
    print("End fetching")
    return {"data": 1}


async def main():
    result = await fetch_data()
    print("The result is", result)


asyncio.run(main())
