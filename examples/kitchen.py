"""Three dishes cook at the same time: the whole meal takes as long as the slowest of them.

python kitchen.py
meantime run kitchen.py

At the end, `meantime run` tells how much was waited for at once. In slow_kitchen.py the same cooks
make every mistake there is.
"""

import asyncio
import time


async def cook(dish, seconds):
    print(f"{dish}: on the stove")
    await asyncio.sleep(seconds)
    print(f"{dish}: ready after {seconds} s")
    return dish


async def main():
    started = time.monotonic()

    # gather starts all three and waits for all three. The results come in the order of the calls,
    # whichever was ready first.
    meal = await asyncio.gather(
        cook("soup", 2),
        cook("potatoes", 3),
        cook("eggs", 1),
    )

    print("Served:", ", ".join(meal))
    print(f"One by one this takes 6 s. Together it took {time.monotonic() - started:.0f} s.")


asyncio.run(main())
