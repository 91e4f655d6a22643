"""A kitchen in which everything goes wrong that can go wrong in asyncio, each mistake once.

python slow_kitchen.py
meantime run slow_kitchen.py

Without a word, it takes its time and serves too little. Run by meantime, it ends with a report that
names each mistake: the line, what it costs, and what to write instead. In the last one, two cooks
wait for each other without end; it is only made when asked for, and you end it with Ctrl-C:

meantime run slow_kitchen.py --deadlock
"""

import asyncio
import concurrent.futures
import sys
import time


async def cook(dish, seconds):
    await asyncio.sleep(seconds)
    return dish


# --- What holds up everybody else -----------------------------------------------------------------


async def boil_eggs():
    # The whole kitchen stands still, not only this cook.
    time.sleep(0.3)


async def grind_pepper():
    # So it does here: the cook is busy, and lets nobody pass.
    grains = 0
    for number in range(5_000_000):
        grains += number % 3


async def peel(potato):
    end = time.monotonic() + 0.002
    while time.monotonic() < end:
        potato += 1


async def peel_potatoes():
    # Each potato is a short piece of work. But a hundred in one go keep everybody waiting.
    await asyncio.gather(*(peel(potato) for potato in range(100)))


# --- What is never done ---------------------------------------------------------------------------


async def lay_the_table():
    print("The table is laid.")


async def wash_up():
    await asyncio.sleep(3600)


async def burn_the_toast():
    raise ValueError("the toast is burnt")


async def forget_things():
    # There is no await here, so nobody lays the table.
    lay_the_table()
    # Nobody waits until this one has ended.
    asyncio.create_task(wash_up())
    # Nobody asks what came of that one.
    asyncio.create_task(burn_the_toast())
    await asyncio.sleep(0.1)


# --- Who does not listen --------------------------------------------------------------------------


async def cook_on():
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        # Told to stop, this cook goes on all the same.
        pass
    await asyncio.sleep(1.5)


async def close_the_kitchen():
    cook = asyncio.create_task(cook_on())
    await asyncio.sleep(0.1)
    cook.cancel()
    await asyncio.wait([cook])


# --- What takes longer than it must ---------------------------------------------------------------


def bake():
    time.sleep(1.5)


async def bake_bread():
    # One oven for three loaves: the other two wait for a free thread.
    asyncio.get_running_loop().set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
    await asyncio.gather(*(asyncio.to_thread(bake) for _ in range(3)))


async def make_a_meal():
    # Nobody needs the soup to begin with the potatoes.
    soup = await cook("soup", 0.4)
    potatoes = await cook("potatoes", 0.6)
    eggs = await cook("eggs", 0.2)
    return [soup, potatoes, eggs]


async def make_cakes():
    cakes = []
    for kind in ("apple", "plum", "nut"):
        cakes.append(await cook(f"{kind} cake", 0.2))
    return cakes


# --- Who waits for each other ---------------------------------------------------------------------


async def take(first, second):
    async with first:
        await asyncio.sleep(0.1)
        async with second:
            print("This is never reached.")


async def quarrel():
    knife, board = asyncio.Lock(), asyncio.Lock()
    await asyncio.gather(take(knife, board), take(board, knife))


async def main():
    if "--deadlock" in sys.argv:
        print("Two cooks want the knife and the board. Press Ctrl-C to end it.", flush=True)
        await quarrel()
    await boil_eggs()
    await grind_pepper()
    await peel_potatoes()
    await forget_things()
    await close_the_kitchen()
    await bake_bread()
    meal = await make_a_meal()
    cakes = await make_cakes()
    print("Served:", ", ".join(meal + cakes))


asyncio.run(main())
