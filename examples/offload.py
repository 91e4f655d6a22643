"""Heavy work in other processes, while the program goes on: results, progress, a bound on the time.

python offload.py
python offload.py --up-to 500000
"""

import argparse
import asyncio

import meantime


def count_primes(up_to):
    """Count the primes below a number, the slow way, and tell now and then how far it is."""
    found = 0
    for number in range(2, up_to):
        if number % (up_to // 4) == 0:
            meantime.report_progress(number, up_to)
        if all(number % divisor for divisor in range(2, int(number**0.5) + 1)):
            found += 1
    return found


def count_for_ever():
    while True:
        pass


async def tick(ticks):
    """What else the program does: it is not held up."""
    while True:
        await asyncio.sleep(0.01)
        ticks.append(1)


async def main(up_to):
    ticks = []
    clock = asyncio.create_task(tick(ticks))

    def show(done, total):
        print(f"  {100 * done // total} % of {total}")

    first, second = await asyncio.gather(
        meantime.to_process(count_primes, up_to, on_progress=show),
        meantime.to_process(count_primes, up_to // 2),
    )
    print(f"{first} primes below {up_to}, {second} below {up_to // 2}")

    # A function that does not end can be ended: its process is killed, and no other is harmed.
    try:
        await meantime.to_process(count_for_ever, timeout=0.2)
    except TimeoutError:
        print("count_for_ever was ended after 0.2 s")

    # Many small calls travel together. Lambdas are fine, too.
    total = 0
    async for square in meantime.offload_map(lambda number: number * number, range(10_000)):
        total += square
    print(f"The squares below 10,000 are {total} together")

    clock.cancel()
    print("The clock went on ticking:", "yes" if len(ticks) > 10 else "no")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--up-to", type=int, default=200_000)
    meantime.run(main(parser.parse_args().up_to))
