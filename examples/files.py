"""Counts the words of a folder's files while a clock goes on ticking, and writes the result safely.

python files.py
python files.py --folder /usr/share/doc

Reading, listing and writing never hold the loop up: the clock ticks all the time.
"""

import argparse
import asyncio
from collections import Counter

import meantime
from meantime import Path, files

POEM = "The kettle sings, the bread is in,\nand in the meantime we begin.\n"


async def tick(ticks):
    while True:
        await asyncio.sleep(0.01)
        ticks.append(1)


async def count_words(path):
    words = Counter()
    async with path.open(encoding="utf-8", errors="replace") as file:
        async for line in file:
            words.update(word.strip(".,").lower() for word in line.split())
    return words


async def count_folder(folder):
    total = Counter()
    paths = [path async for path in folder.rglob("*") if await path.is_file()]
    for words in await meantime.gather(*map(count_words, paths), limit=20):
        total += words
    return len(paths), total


async def make_poems(folder):
    for number in range(100):
        await (folder / f"{number}.txt").write_text(POEM * 50)


async def main(chosen):
    ticks = []
    clock = asyncio.create_task(tick(ticks))
    async with files.TemporaryDirectory() as temporary:
        folder = Path(chosen or temporary)
        if not chosen:
            await make_poems(folder)
        count, words = await count_folder(folder)
        result = Path(temporary) / "result.txt"
        await result.write_atomic("".join(f"{word} {n}\n" for word, n in words.most_common(3)))
        async with result.open() as file:
            lines = [line.strip() async for line in file]
    clock.cancel()
    print(f"{count} files. The most frequent words: {', '.join(lines)}")
    print("The clock went on ticking." if ticks else "It was done before the clock could tick.")


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--folder", help="where the files are; else a hundred poems are made")
meantime.run(main(parser.parse_args().folder))
